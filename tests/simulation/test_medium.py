"""The model of a disk keeps to what disks do: nothing synced is lost, nothing unsynced is sure."""

from __future__ import annotations

from random import Random

import pytest

from tests.simulation.medium import SECTOR_BYTES, Inode, Medium

PAGE = 4096
SEEDS = range(300)


def page(letter: str, pages: int = 1) -> bytes:
    return letter.encode() * PAGE * pages


def outcomes(inode: Inode) -> list[bytes]:
    return [bytes(inode.settled(Random(seed))) for seed in SEEDS]


def sectors(content: bytes) -> list[bytes]:
    return [content[at : at + SECTOR_BYTES] for at in range(0, len(content), SECTOR_BYTES)]


def synced(content: bytes) -> Inode:
    inode = Inode()
    inode.write(0, content)
    inode.sync()
    return inode


def test_what_was_synced_stays() -> None:
    assert set(outcomes(synced(page("a", 3)))) == {page("a", 3)}


def test_what_was_not_synced_is_kept_dropped_or_torn_by_the_sector() -> None:
    inode = synced(page("a"))
    inode.write(0, page("b"))
    found = outcomes(inode)
    assert {page("a"), page("b")} < set(found)
    torn = [content for content in found if content not in (page("a"), page("b"))]
    assert torn
    for content in torn:
        assert {len(set(sector)) for sector in sectors(content)} == {1}


def test_writes_to_different_pages_reach_the_medium_in_any_order() -> None:
    inode = synced(page("a", 20))
    inode.write(0, page("b"))
    inode.write(17 * PAGE, page("c"))
    found = {(content[:1], content[17 * PAGE :][:1]) for content in outcomes(inode)}
    assert found == {(b"a", b"a"), (b"b", b"a"), (b"a", b"c"), (b"b", b"c")}


def test_writes_to_one_sector_reach_it_in_their_order() -> None:
    inode = synced(bytes(SECTOR_BYTES))
    inode.write(0, b"1")
    inode.write(1, b"2")
    inode.write(2, b"3")
    assert {content[:3] for content in outcomes(inode)} == {
        b"\0\0\0",
        b"1\0\0",
        b"12\0",
        b"123",
    }


def test_a_file_may_have_grown_without_its_bytes() -> None:
    inode = Inode()
    inode.write(0, page("a", 2))
    found = outcomes(inode)
    assert {len(content) for content in found} == {0, 2 * PAGE}
    assert bytes(2 * PAGE) in found


def test_a_truncation_takes_effect_as_a_whole_or_not_at_all() -> None:
    inode = synced(page("a", 2))
    inode.truncate(PAGE)
    assert set(outcomes(inode)) == {page("a", 2), page("a")}


def test_nothing_written_behind_a_truncation_is_found_without_it() -> None:
    inode = synced(page("a", 2))
    inode.truncate(0)
    inode.write(PAGE, page("b"))
    for content in outcomes(inode):
        assert b"a" not in content or content == page("a", 2)


def test_after_a_failed_sync_the_medium_never_gets_what_the_cache_shows() -> None:
    results: set[bytes] = set()
    for seed in SEEDS:
        inode = synced(page("a", 2))
        inode.write(PAGE, page("b"))
        inode.fail_sync(Random(seed))
        inode.sync()
        results.add(bytes(inode.settled(Random(seed))))
        inode.write(PAGE, page("b"))
        inode.sync()
        assert inode.settled(Random(seed)) == page("a") + page("b")
    assert page("a", 2) in results
    assert page("a") + page("b") in results


def test_what_the_kernel_evicts_comes_back_as_the_medium_has_it() -> None:
    shown = page("b", 4)
    inode = synced(page("a", 4))
    assert inode.evicted(shown, Random(1)) == shown, "only dropped pages differ"
    inode.write(0, shown)
    inode.fail_sync(Random(3))
    inode.durable = bytearray(page("a", 4))
    found = {inode.evicted(shown, Random(seed)) for seed in SEEDS}
    assert {page("a") + page("b", 3), page("b", 3) + page("a")} <= found


# Names.


@pytest.fixture
def medium() -> Medium:
    return Medium({"old": b"old"})


def names(medium: Medium) -> set[frozenset[str]]:
    return {frozenset(medium.settled(Random(seed))) for seed in SEEDS}


def test_a_new_name_needs_a_sync_of_the_directory(medium: Medium) -> None:
    medium.link("new").write(0, b"new")
    medium.names["new"].sync()
    assert names(medium) == {frozenset({"old"}), frozenset({"old", "new"})}
    medium.sync_directory()
    assert names(medium) == {frozenset({"old", "new"})}
    assert medium.settled(Random(0))["new"] == b"new"


def test_a_name_that_was_removed_may_be_back_until_the_directory_is_synced(medium: Medium) -> None:
    medium.unlink("old")
    medium.link("new")
    assert frozenset({"old"}) in names(medium)
    # Whoever syncs it: here the one who made the new file.
    medium.sync_directory()
    assert names(medium) == {frozenset({"new"})}


def test_a_name_made_anew_is_the_old_file_the_new_one_or_none(medium: Medium) -> None:
    medium.unlink("old")
    inode = medium.link("old")
    inode.write(0, b"new")
    inode.sync()
    found = {medium.settled(Random(seed)).get("old") for seed in SEEDS}
    assert found == {b"old", b"new", None}
