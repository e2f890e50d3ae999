package io.tidewatch.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** One window of one server under one layout. */
public final class Window {
    private static final byte FORMAT = 1;

    final Server server;
    final Layout layout;
    final long lengthMs;
    final long start;
    final Columns columns;
    boolean closed;
    /** In the engine's list of what changed since the last commit. */
    boolean changed;
    /** The log of the state knows it. */
    boolean logged;

    Window(Server server, Layout layout, long lengthMs, long start, Columns columns) {
        this.server = server;
        this.layout = layout;
        this.lengthMs = lengthMs;
        this.start = start;
        this.columns = columns;
    }

    public byte[] serverName() {
        return server.name;
    }

    public long lengthMs() {
        return lengthMs;
    }

    public long end() {
        return start + lengthMs;
    }

    /** The output record: format, window, layout as it came, columns; little-endian. */
    public byte[] toRecord() {
        byte[] bytes = new byte[1 + 8 + 8 + 4 + layout.bytes.length + columns.bytes()];
        ByteBuffer out = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        out.put(FORMAT).putLong(start).putLong(lengthMs).putInt(layout.bytes.length).put(layout.bytes);
        columns.write(out);
        return bytes;
    }

    /** What identifies it in the state's log. */
    public byte[] stateKey() {
        byte[] bytes = new byte[1 + server.name.length + 8 + 8 + 8];
        ByteBuffer.wrap(bytes).put((byte) 'W').put(server.name).putLong(lengthMs).putLong(start).putLong(layout.hash);
        return bytes;
    }

    public byte[] stateValue() {
        byte[] bytes = new byte[columns.stateBytes()];
        columns.writeState(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
        return bytes;
    }
}
