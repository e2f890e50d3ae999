"""Redis never hides a window: when partitions change hands, when a refresh comes late, and when old keys come back."""

import signal
import time

from scene import SETTLED, scene  # noqa: F401 - a fixture
from stack import wait_until


def test_the_next_window_does_not_hide_what_old_versions_lack(scene):
    server = scene.flow.servers[0].name
    scene.rounds(8)
    scene.await_redis(server, 4, 8)
    old = {key: value for key, value in scene.hot.dump().items() if b"recent" in key}
    scene.rounds(4)
    scene.hot.restore(old)
    # these are appended to the old version, under the same epoch
    scene.rounds(2)
    time.sleep(SETTLED)
    scene.check(server, 4, 14)


def test_old_versions_written_back_into_a_redis_in_use_are_no_answer(scene):
    """Somebody restores keys under a living epoch, or a replica that was behind takes over without any connection breaking."""
    server = scene.flow.servers[0].name
    scene.rounds(8)
    scene.await_redis(server, 4, 8)
    old = {key: value for key, value in scene.hot.dump().items() if b"recent" in key or b"series" in key}
    scene.rounds(4)
    scene.check(server, 4, 12)
    time.sleep(SETTLED)
    scene.hot.restore(old)
    scene.check(server, 4, 12)


def test_a_sink_vouches_for_nothing_that_it_has_lost(scene):
    """The one that has the partitions now cannot reach Redis; the other has no work, and only its lease to renew."""
    scene.rounds(6)
    scene.await_redis(scene.flow.servers[0].name, 2, 6)
    [first] = scene.partitions()
    other = scene.hot.add_sink("sink-1")
    with scene.hot.misbehaving("sink-1", refuse=True, cut=1.0):
        # a connection that was there already answers once more
        other.process.wait_log("refresh redis; answers come from postgresql")
        wait_until(lambda: len(scene.partitions()) == 2 and all(scene.partitions().values()), 60, "partitions for both")
        [moved] = [partitions for member, partitions in scene.partitions().items() if member != first]
        servers = scene.servers_in(moved)
        scene.flow.awake = set(servers)
        scene.rounds(3)
        time.sleep(SETTLED)
        scene.check(servers[0], 2, 9)


def test_the_refresh_of_a_sink_that_lost_its_partitions_comes_late(scene):
    """It hangs between its commit and its refresh, or the refresh is long on its way, while another has taken over."""
    scene.rounds(6)
    other = scene.hot.add_sink("sink-1")
    other.await_ready()
    wait_until(lambda: len(scene.partitions()) == 2 and all(scene.partitions().values()), 60, "partitions for both")
    scene.rounds(4)
    late = scene.hot.pipeline["sink"].process
    with scene.hot.misbehaving("sink", hold=True):
        scene.rounds(1)
        late.signal(signal.SIGSTOP)
        wait_until(lambda: len(scene.partitions()) == 1, 60, "the group does without it", every=0.2)
        scene.rounds(3)
        time.sleep(SETTLED)
    try:
        # whichever of them was its own
        time.sleep(0.5)
        for server in scene.flow.servers:
            scene.check(server.name, 10, 14)
    finally:
        late.signal(signal.SIGCONT)
