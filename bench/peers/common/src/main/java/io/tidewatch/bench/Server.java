package io.tidewatch.bench;

import java.util.ArrayList;

/** One server: the layouts it has shown, its own time, and its open windows, oldest first. */
final class Server {
    final byte[] name;
    final int hash;
    /** The one of the last frame first: almost always the one of the next. */
    final ArrayList<Layout> layouts = new ArrayList<>(1);
    final ArrayList<Window> tens = new ArrayList<>(2);
    final ArrayList<Window> minutes = new ArrayList<>(2);
    long watermark = Long.MIN_VALUE;

    Server(byte[] name, int hash) {
        this.name = name;
        this.hash = hash;
    }
}
