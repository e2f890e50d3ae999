package io.tidewatch.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Reads a frame where it lies: no object for a series, the layout compared as bytes, the values copied in one go. */
final class FrameCursor {
    private static final int HEADER = 10;

    private byte[] bytes;
    private int at;

    int nameFrom;
    int nameTo;
    int nameHash;
    long collectedAt;
    /** Some value is NaN. */
    boolean absent;
    double[] values = new double[128];

    /** The head: up to where the layout begins. */
    void open(byte[] frame) {
        bytes = frame;
        at = HEADER;
        int length = (int) varint();
        nameFrom = at;
        nameTo = at + length;
        int hash = 1;
        for (int i = nameFrom; i < nameTo; i++) {
            hash = 31 * hash + bytes[i];
        }
        nameHash = hash ^ (hash >>> 15);
        at = nameTo;
        varint(); // sequence
        collectedAt = varint();
        varint(); // layout_id
    }

    /** Stands before a layout that was kept alone. */
    void openLayout(byte[] layout) {
        bytes = layout;
        at = 0;
    }

    /** Whether the layout is this one; if so the cursor stands behind it. */
    boolean skipLayout(Layout known) {
        int to = at + known.bytes.length;
        if (to > bytes.length || !Arrays.equals(bytes, at, to, known.bytes, 0, known.bytes.length)) {
            return false;
        }
        at = to;
        return true;
    }

    /** A layout not seen before, series by series. */
    Layout readLayout() {
        int from = at;
        int series = 0;
        for (long block = varint(); block != 0; block = varint()) {
            if (block < 0) {
                block = -block;
                varint(); // size in bytes
            }
            series += (int) block;
            for (long i = 0; i < block; i++) {
                skipString(); // metric
                for (long labels = varint(); labels != 0; labels = varint()) {
                    if (labels < 0) {
                        labels = -labels;
                        varint();
                    }
                    for (long l = 0; l < labels; l++) {
                        skipString();
                        skipString();
                    }
                }
                varint(); // kind
                skipString(); // unit
            }
        }
        return new Layout(Arrays.copyOfRange(bytes, from, at), series);
    }

    /** How many values there are; they are in `values` then. */
    int readValues() {
        int n = 0;
        for (long block = varint(); block != 0; block = varint()) {
            if (block < 0) {
                block = -block;
                varint();
            }
            int count = (int) block;
            if (n + count > values.length) {
                values = Arrays.copyOf(values, Math.max(2 * values.length, n + count));
            }
            ByteBuffer.wrap(bytes, at, 8 * count).order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer().get(values, n, count);
            at += 8 * count;
            n += count;
        }
        double probe = 0;
        for (int i = 0; i < n; i++) {
            probe += values[i] * 0;
        }
        absent = Double.isNaN(probe);
        return n;
    }

    private void skipString() {
        int length = (int) varint();
        at += length;
    }

    private long varint() {
        long raw = bytes[at++];
        if (raw < 0) {
            raw &= 0x7f;
            int shift = 7;
            byte b;
            do {
                b = bytes[at++];
                raw |= (long) (b & 0x7f) << shift;
                shift += 7;
            } while (b < 0);
        }
        return (raw >>> 1) ^ -(raw & 1);
    }
}
