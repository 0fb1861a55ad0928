"""Population measures of susceptibility (Sun et al. 2018): where attacks concentrate, and how sure that is."""

from ehr_attack.susceptibility.analysis import analyse_attacks
from ehr_attack.susceptibility.success import attack_summary, success_curves, tradeoff

__all__ = ["analyse_attacks", "attack_summary", "success_curves", "tradeoff"]
