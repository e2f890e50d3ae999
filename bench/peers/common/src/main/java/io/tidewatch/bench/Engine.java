package io.tidewatch.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * The heart of both tuned contenders: whole frames in, whole windows out. A frame touches one window, the one of 10 s; that of
 * a minute is made of six of them when they close. A window closes when its server's own time passes its end by the grace, or
 * when the time of the partition does. It knows neither Kafka Streams nor Flink; they give it frames and keep its state.
 */
public final class Engine {
    private final long graceMs;
    private final Consumer<Window> closed;
    private final FrameCursor frame = new FrameCursor();
    private final ArrayList<Window> changed = new ArrayList<>();
    private final ArrayList<Layout> newLayouts = new ArrayList<>();
    private final ArrayList<Server> newLayoutServers = new ArrayList<>();
    private Server[] servers = new Server[4096];
    private int size;
    private long late;

    public Engine(long graceMs, Consumer<Window> closed) {
        this.graceMs = graceMs;
        this.closed = closed;
    }

    public long late() {
        return late;
    }

    /** Takes a frame. An empty record is none. */
    public void take(byte[] bytes) {
        if (bytes == null || bytes.length == 0) {
            return;
        }
        frame.open(bytes);
        Server server = server(bytes, frame.nameFrom, frame.nameTo, frame.nameHash);
        Layout layout = layout(server);
        int n = frame.readValues();
        if (n != layout.series) {
            throw new IllegalStateException(n + " values for " + layout.series + " series");
        }
        long at = frame.collectedAt;
        long start = Math.floorDiv(at, Options.TEN_SECONDS) * Options.TEN_SECONDS;
        if (start + Options.TEN_SECONDS + graceMs <= server.watermark) {
            late++;
            return;
        }
        Window window = window(server, server.tens, layout, Options.TEN_SECONDS, start);
        window.columns.add(at, frame.values, frame.absent);
        if (at > server.watermark) {
            server.watermark = at;
            close(server, at);
        }
    }

    /** Closes what ends before the time of the partition, for servers that are silent. */
    public void advance(long time) {
        for (Server server : servers) {
            if (server != null && time > server.watermark) {
                close(server, time);
            }
        }
    }

    private void close(Server server, long time) {
        ArrayList<Window> tens = server.tens;
        while (!tens.isEmpty() && tens.get(0).end() + graceMs <= time) {
            Window ten = tens.remove(0);
            emit(ten);
            long start = Math.floorDiv(ten.start, Options.MINUTE) * Options.MINUTE;
            window(server, server.minutes, ten.layout, Options.MINUTE, start).columns.merge(ten.columns);
        }
        ArrayList<Window> minutes = server.minutes;
        while (!minutes.isEmpty() && minutes.get(0).end() + graceMs <= time) {
            emit(minutes.remove(0));
        }
    }

    private void emit(Window window) {
        window.closed = true;
        if (window.logged) {
            touch(window);
        }
        closed.accept(window);
    }

    private void touch(Window window) {
        if (!window.changed) {
            window.changed = true;
            changed.add(window);
        }
    }

    private Window window(Server server, ArrayList<Window> open, Layout layout, long length, long start) {
        Window newest = length == Options.TEN_SECONDS ? layout.ten : layout.minute;
        if (newest != null && newest.start == start && !newest.closed) {
            touch(newest);
            return newest;
        }
        int place = open.size();
        for (; place > 0 && open.get(place - 1).start >= start; place--) {
            Window window = open.get(place - 1);
            if (window.start == start && window.layout == layout) {
                touch(window);
                return window;
            }
        }
        Window window = new Window(server, layout, length, start, new Columns(layout.series));
        // Behind those of the same start: they stay in order.
        while (place < open.size() && open.get(place).start == start) {
            place++;
        }
        open.add(place, window);
        if (length == Options.TEN_SECONDS) {
            layout.ten = window;
        } else {
            layout.minute = window;
        }
        touch(window);
        return window;
    }

    private Layout layout(Server server) {
        ArrayList<Layout> layouts = server.layouts;
        int known = layouts.size();
        int place = server.nextLayout;
        for (int tries = 0; tries < known; tries++) {
            if (place >= known) {
                place = 0;
            }
            Layout layout = layouts.get(place++);
            if (frame.skipLayout(layout)) {
                server.nextLayout = place;
                return layout;
            }
        }
        Layout layout = frame.readLayout();
        layouts.add(layout);
        newLayouts.add(layout);
        newLayoutServers.add(server);
        return layout;
    }

    private Server server(byte[] bytes, int from, int to, int hash) {
        int mask = servers.length - 1;
        for (int i = hash & mask; ; i = (i + 1) & mask) {
            Server server = servers[i];
            if (server == null) {
                server = new Server(Arrays.copyOfRange(bytes, from, to), hash);
                servers[i] = server;
                if (++size * 2 > servers.length) {
                    grow();
                }
                return server;
            }
            if (server.hash == hash && Arrays.equals(server.name, 0, server.name.length, bytes, from, to)) {
                return server;
            }
        }
    }

    private void grow() {
        Server[] old = servers;
        servers = new Server[2 * old.length];
        int mask = servers.length - 1;
        for (Server server : old) {
            if (server != null) {
                int i = server.hash & mask;
                while (servers[i] != null) {
                    i = (i + 1) & mask;
                }
                servers[i] = server;
            }
        }
    }

    // State that somebody else keeps: either what changed since the last commit, or all of it.

    /** Where the state's log goes; a null value deletes. */
    public interface Log {
        void put(byte[] key, byte[] value);
    }

    /** What changed since the last call: once for each window, however many frames it took. */
    public void flush(Log log) {
        for (int i = 0; i < newLayouts.size(); i++) {
            Layout layout = newLayouts.get(i);
            log.put(layoutKey(newLayoutServers.get(i), layout), layout.bytes);
        }
        newLayouts.clear();
        newLayoutServers.clear();
        for (Window window : changed) {
            window.changed = false;
            if (!window.closed) {
                log.put(window.stateKey(), window.stateValue());
                window.logged = true;
            } else if (window.logged) {
                log.put(window.stateKey(), null);
            }
        }
        changed.clear();
    }

    /** All of it, for whoever takes whole snapshots. */
    public void snapshot(Log log) {
        newLayouts.clear();
        newLayoutServers.clear();
        changed.clear();
        for (Server server : servers) {
            if (server == null) {
                continue;
            }
            for (Layout layout : server.layouts) {
                log.put(layoutKey(server, layout), layout.bytes);
            }
            for (ArrayList<Window> open : java.util.List.of(server.tens, server.minutes)) {
                for (Window window : open) {
                    window.changed = false;
                    log.put(window.stateKey(), window.stateValue());
                }
            }
        }
    }

    private static byte[] layoutKey(Server server, Layout layout) {
        byte[] key = new byte[1 + server.name.length + 8];
        ByteBuffer.wrap(key).put((byte) 'L').put(server.name).putLong(layout.hash);
        return key;
    }

    /** An entry of the log or the snapshot; the layouts have to come first. */
    public void restore(byte[] key, byte[] value) {
        boolean isLayout = key[0] == 'L';
        int nameTo = key.length - (isLayout ? 8 : 24);
        int hash = 1;
        for (int i = 1; i < nameTo; i++) {
            hash = 31 * hash + key[i];
        }
        Server server = server(key, 1, nameTo, hash ^ (hash >>> 15));
        ByteBuffer in = ByteBuffer.wrap(key);
        if (isLayout) {
            frame.openLayout(value);
            server.layouts.add(frame.readLayout());
            return;
        }
        long length = in.getLong(nameTo);
        long start = in.getLong(nameTo + 8);
        long layoutHash = in.getLong(nameTo + 16);
        Layout layout = server.layouts.stream().filter(l -> l.hash == layoutHash).findFirst().orElseThrow();
        Columns columns = Columns.readState(ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN));
        Window window = new Window(server, layout, length, start, columns);
        window.logged = true;
        ArrayList<Window> open = length == Options.TEN_SECONDS ? server.tens : server.minutes;
        open.add(window);
        open.sort((a, b) -> Long.compare(a.start, b.start));
        server.watermark = Math.max(server.watermark, columns.lastAt());
    }
}
