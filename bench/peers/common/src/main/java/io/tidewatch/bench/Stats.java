package io.tidewatch.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** One series in one window, as the plain contenders keep it. */
public final class Stats {
    public static final int BYTES = 48;
    private static final byte FORMAT = 2;

    public long count;
    public double sum;
    public double min;
    public double max;
    public double first;
    public double last;

    public Stats add(double value) {
        if (count == 0) {
            min = max = first = value;
        } else {
            min = Math.min(min, value);
            max = Math.max(max, value);
        }
        sum += value;
        last = value;
        count++;
        return this;
    }

    public Stats merge(Stats later) {
        if (later.count == 0) {
            return this;
        }
        if (count == 0) {
            min = later.min;
            max = later.max;
            first = later.first;
        } else {
            min = Math.min(min, later.min);
            max = Math.max(max, later.max);
        }
        sum += later.sum;
        last = later.last;
        count += later.count;
        return this;
    }

    public byte[] toBytes() {
        byte[] bytes = new byte[BYTES];
        write(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
        return bytes;
    }

    public static Stats fromBytes(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        Stats stats = new Stats();
        stats.count = in.getLong();
        stats.sum = in.getDouble();
        stats.min = in.getDouble();
        stats.max = in.getDouble();
        stats.first = in.getDouble();
        stats.last = in.getDouble();
        return stats;
    }

    /** The output record: format, start of the window, the figures; little-endian. */
    public byte[] toRecord(long windowStart) {
        byte[] bytes = new byte[1 + 8 + BYTES];
        ByteBuffer out = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        out.put(FORMAT).putLong(windowStart);
        write(out);
        return bytes;
    }

    private void write(ByteBuffer out) {
        out.putLong(count).putDouble(sum).putDouble(min).putDouble(max).putDouble(first).putDouble(last);
    }
}
