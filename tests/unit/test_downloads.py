"""Downloads from a real HTTP server on the loopback, with the faults that networks and servers have."""

import argparse
import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ehr_attack.downloads import (
    NOTICE,
    RECORDS_A_SET,
    check_archive,
    check_outcomes,
    download_physionet2012,
    run,
)
from ehr_attack.errors import UserError

STAYS = 30


def archive(stays: int = STAYS, padding: int = 3000) -> bytes:
    """A .tar.gz with one text file a stay; the text does not compress, so that the size is about stays x padding."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as target:
        folder = tarfile.TarInfo("set-a/")
        folder.type = tarfile.DIRTYPE
        target.addfile(folder)
        for number in range(stays):
            noise = b"".join(hashlib.sha256(b"%d %d" % (number, block)).digest() for block in range(padding // 32))
            record = tarfile.TarInfo(f"set-a/{100 + number}.txt")
            record.size = len(noise)
            target.addfile(record, io.BytesIO(noise))
    return stream.getvalue()


def outcomes(stays: int = STAYS) -> bytes:
    lines = [f"{100 + number},6,1,5,-1,{number % 2}" for number in range(stays)]
    return "\n".join(["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death", *lines, ""]).encode()


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items()).encode()


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers of the archive break off
    refusals: list[int] = field(default_factory=list)  # HTTP status of the next answers
    shortfall: int = 0  # bytes that an answer lacks of what it announces
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def asked_for(self, name: str) -> list[str | None]:
        """The Range headers of the requests for `name`, in order."""
        return [span for path, span in self.requests if path.endswith(name)]


def handler_of(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name, span = self.path.rpartition("/")[2], self.headers.get("Range")
            site.requests.append((self.path, span))
            if site.refusals:
                return self.send_error(site.refusals.pop(0))
            if not self.path.startswith("/challenge/") or name not in site.files:
                return self.send_error(404)
            content, start = site.files[name], 0
            if span and site.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", span)[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = site.cuts.pop(0) if site.cuts and name.endswith(".gz") else len(body) - site.shortfall
            self.wfile.write(body[:cut])
            self.close_connection = True
            return None

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def site():
    site = Site({"set-a.tar.gz": archive(), "Outcomes-a.txt": outcomes()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site)) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/challenge/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def download(site, tmp_path):
    """Download set A to `download.folder`; `download.waits` holds the pauses that were made."""

    def download(**options):
        download_physionet2012(
            options.pop("sets", ["a"]), download.folder,
            **({"base_url": site.url, "records": STAYS, "wait": download.waits.append} | options),
        )  # fmt: skip

    download.folder, download.waits = tmp_path / "data" / "physionet2012", []
    return download


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_files_of_every_set_arrive_whole(site, download):
    site.files |= {"set-b.tar.gz": archive(padding=640), "Outcomes-b.txt": outcomes()}
    download(sets=["a", "b"])
    assert contents(download.folder) == site.files
    assert download.waits == []


def test_what_is_complete_is_not_asked_for_again(site, download):
    download()
    asked = list(site.requests)
    download()
    assert site.requests == asked
    (download.folder / "Outcomes-a.txt").unlink()
    download()
    assert site.asked_for("Outcomes-a.txt") == [None, None] and site.asked_for("set-a.tar.gz") == [None]


def test_a_cut_connection_is_resumed_where_it_broke(site, download):
    site.cuts = [20_000, 30_000]
    download()
    assert site.asked_for("set-a.tar.gz") == [None, "bytes=20000-", "bytes=50000-"]
    assert contents(download.folder) == site.files
    assert download.waits == [1.0, 1.0]


def test_a_part_of_an_earlier_command_is_resumed(site, download):
    download.folder.mkdir(parents=True)
    (download.folder / "set-a.tar.gz.part").write_bytes(site.files["set-a.tar.gz"][:12_345])
    download()
    assert site.asked_for("set-a.tar.gz") == ["bytes=12345-"]
    assert contents(download.folder) == site.files


def test_a_part_that_is_complete_already_is_taken(site, download):
    download.folder.mkdir(parents=True)
    (download.folder / "set-a.tar.gz.part").write_bytes(site.files["set-a.tar.gz"])
    download()
    assert contents(download.folder) == site.files


def test_a_part_longer_than_the_file_is_started_afresh(site, download):
    download.folder.mkdir(parents=True)
    (download.folder / "set-a.tar.gz.part").write_bytes(site.files["set-a.tar.gz"] + b"more")
    download()
    assert site.asked_for("set-a.tar.gz")[-1] is None
    assert contents(download.folder) == site.files


def test_a_part_of_another_file_is_found_out_and_the_next_command_starts_afresh(site, download):
    download.folder.mkdir(parents=True)
    (download.folder / "set-a.tar.gz.part").write_bytes(b"of another file")
    with pytest.raises(UserError, match="the archive is damaged"):
        download()
    download()
    assert contents(download.folder) == site.files


def test_a_server_without_ranges_makes_a_fresh_start(site, download):
    site.ranges, site.cuts = False, [20_000]
    download()
    assert site.asked_for("set-a.tar.gz") == [None, "bytes=20000-"]
    assert contents(download.folder) == site.files


def test_a_server_that_never_sends_all_it_announces(site, download):
    site.ranges, site.shortfall = False, 7
    size = len(site.files["set-a.tar.gz"])
    with pytest.raises(UserError, match=rf"{size - 7:,} of {size:,} bytes arrived, and 5 tries in a row") as error:
        download()
    assert "run the same command again" in str(error.value)
    assert not (download.folder / "set-a.tar.gz").exists()
    assert download.waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_busy_server_is_asked_again_with_growing_pauses(site, download):
    site.refusals = [503, 500, 429]
    download()
    assert download.waits == [2.0, 4.0, 8.0]
    assert contents(download.folder) == site.files


def test_a_missing_file_is_named_with_its_address(site, download):
    del site.files["set-a.tar.gz"]
    with pytest.raises(UserError, match=r"challenge/set-a\.tar\.gz: the server has no such file \(HTTP status 404\)"):
        download()
    assert contents(download.folder) == {}


def test_a_refusal_is_not_repeated(site, download):
    site.refusals = [404, 403]  # the first is for the checksums, which may be missing
    with pytest.raises(UserError, match="refused with HTTP status 403"):
        download()
    assert download.waits == []


def test_published_checksums_are_compared(site, download, caplog):
    site.files["SHA256SUMS.txt"] = sums(site.files)
    with caplog.at_level("INFO", logger="ehr_attack"):
        download()
    assert caplog.text.count("SHA-256 as published") == 2
    assert set(contents(download.folder)) == {"set-a.tar.gz", "Outcomes-a.txt"}


def test_a_file_that_differs_from_its_checksum_is_refused(site, download):
    site.files["SHA256SUMS.txt"] = sums(site.files)
    expected = hashlib.sha256(site.files["set-a.tar.gz"]).hexdigest()
    site.files["set-a.tar.gz"] = archive(padding=640)
    with pytest.raises(UserError, match=f"set-a.tar.gz: the SHA-256 checksum is .*{expected}") as error:
        download()
    assert "run the same command again to start this file afresh" in str(error.value)
    assert contents(download.folder) == {}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut"),
        pytest.param(lambda content: content[:-6] + b"\0" + content[-5:], id="checksum in the trailer"),
        pytest.param(lambda content: content[:5000] + bytes(100) + content[5100:], id="overwritten"),
        pytest.param(lambda content: b"<html>Please log in</html>", id="log-in page"),
        pytest.param(lambda content: gzip.compress(b"no tar archive" * 1000), id="no tar"),
    ],
)
def test_a_damaged_archive_is_removed_and_said_so(site, download, damage):
    site.files["set-a.tar.gz"] = damage(site.files["set-a.tar.gz"])
    with pytest.raises(UserError, match=r"set-a\.tar\.gz: the archive is damaged or is none .*deleted; run the same"):
        download()
    assert contents(download.folder) == {}


def test_a_damaged_file_of_the_user_is_left_to_the_user(site, download):
    download()
    file = download.folder / "set-a.tar.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"the archive is damaged .* Delete it and run the same command again"):
        download()
    assert file.exists()


def test_records_and_outcomes_are_counted(tmp_path):
    (tmp_path / "set-a.tar.gz").write_bytes(archive(stays=29))
    (tmp_path / "Outcomes-a.txt").write_bytes(outcomes(stays=31))
    with pytest.raises(UserError, match="29 records in the archive; expected 30"):
        check_archive(tmp_path / "set-a.tar.gz", 30)
    check_archive(tmp_path / "set-a.tar.gz", 29)
    with pytest.raises(UserError, match="31 outcomes; expected 30"):
        check_outcomes(tmp_path / "Outcomes-a.txt", 30)
    check_outcomes(tmp_path / "Outcomes-a.txt", 31)


@pytest.mark.parametrize("text", ["", "<html>Please log in</html>\n", "132539,6,1,5,-1,0\n"])
def test_something_else_than_outcomes_is_refused(tmp_path, text):
    (tmp_path / "Outcomes-a.txt").write_text(text)
    with pytest.raises(UserError, match="not a table of outcomes"):
        check_outcomes(tmp_path / "Outcomes-a.txt", 1)


def test_no_network(download):
    with pytest.raises(UserError, match=r"no connection to 127\.0\.0\.1 \(Connection refused\), and 5 tries"):
        download(base_url="http://127.0.0.1:9/challenge/")
    assert download.waits == [2.0, 4.0, 8.0, 16.0]


def test_an_unknown_host(download):
    # RFC 2606 reserves .invalid; where no name server answers at all, the tries end in the same plain words.
    with pytest.raises(UserError, match=r"no-such-host\.invalid.*(is unknown|no connection to)"):
        download(base_url="http://no-such-host.invalid/challenge/")


@pytest.mark.parametrize("address", ["ftp://physionet.org/", "physionet.org/files/", "file:///etc/"])
def test_an_address_that_is_none(download, address):
    with pytest.raises(UserError, match=r"--base-url: .* is no web address"):
        download(base_url=address)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk(site, download):
    download.folder.mkdir(parents=True)
    (download.folder / "set-a.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"set-a\.tar\.gz\.part: no space left on the device"):
        download()
    assert download.waits == []


def test_a_folder_that_cannot_be_made(site, download):
    download.folder.parent.mkdir()
    download.folder.write_text("a file")
    with pytest.raises(UserError, match=r"physionet2012: cannot write here .*--to"):
        download(sets=["a"])


def test_the_command_downloads_a_full_set_and_ends_with_the_licence_and_the_next_step(site, tmp_path, capsys):
    site.files = {"set-a.tar.gz": archive(RECORDS_A_SET, padding=32), "Outcomes-a.txt": outcomes(RECORDS_A_SET)}
    folder = tmp_path / "here"
    run(argparse.Namespace(sets=["a", "a"], to=folder, base_url=site.url.rstrip("/")))
    printed = capsys.readouterr().out
    assert NOTICE in printed and "ODC-By" in printed and "10.13026/C25W25" in printed
    assert printed.endswith(f"Next: PHYSIONET2012_DIR={folder} make demo-physionet2012\n")
    assert contents(folder) == site.files
    assert len(site.asked_for("set-a.tar.gz")) == 1


def test_the_published_set_passes_the_checks(shared_dir):
    check_archive(shared_dir / "data" / "physionet2012" / "set-a.tar.gz", RECORDS_A_SET)
    check_outcomes(shared_dir / "data" / "physionet2012" / "Outcomes-a.txt", RECORDS_A_SET)
