package io.tidewatch.bench;

import java.util.ArrayList;

/** One server: the layouts it has shown, its own time, and its open windows, oldest first. */
final class Server {
    final byte[] name;
    final int hash;
    final ArrayList<Layout> layouts = new ArrayList<>(1);
    /** The layout that its next frame should have: a server has one, or sends its series in the same order again and again. */
    int nextLayout;
    final ArrayList<Window> tens = new ArrayList<>(2);
    final ArrayList<Window> minutes = new ArrayList<>(2);
    long watermark = Long.MIN_VALUE;

    Server(byte[] name, int hash) {
        this.name = name;
        this.hash = hash;
    }
}
