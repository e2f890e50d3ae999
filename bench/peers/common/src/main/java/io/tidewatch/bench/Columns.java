package io.tidewatch.bench;

import java.nio.ByteBuffer;

/** All series of one server in one window, column by column. Loops are plain so that the compiler makes vectors of them. */
final class Columns {
    final int n;
    final int[] count;
    final double[] sum;
    final double[] min;
    final double[] max;
    final double[] first;
    final double[] last;
    private long firstAt = Long.MAX_VALUE;
    private long lastAt = Long.MIN_VALUE;

    Columns(int n) {
        this.n = n;
        count = new int[n];
        sum = new double[n];
        min = new double[n];
        max = new double[n];
        first = new double[n];
        last = new double[n];
        java.util.Arrays.fill(min, Double.POSITIVE_INFINITY);
        java.util.Arrays.fill(max, Double.NEGATIVE_INFINITY);
    }

    /** One frame's values; `absent` = some of them are NaN. */
    void add(long at, double[] values, boolean absent) {
        boolean isFirst = at < firstAt;
        boolean isLast = at >= lastAt;
        if (isFirst) {
            firstAt = at;
        }
        if (isLast) {
            lastAt = at;
        }
        if (absent) {
            addPresent(values, isFirst, isLast);
            return;
        }
        for (int i = 0; i < n; i++) {
            count[i]++;
        }
        for (int i = 0; i < n; i++) {
            sum[i] += values[i];
        }
        for (int i = 0; i < n; i++) {
            min[i] = Math.min(min[i], values[i]);
        }
        for (int i = 0; i < n; i++) {
            max[i] = Math.max(max[i], values[i]);
        }
        if (isFirst) {
            System.arraycopy(values, 0, first, 0, n);
        }
        if (isLast) {
            System.arraycopy(values, 0, last, 0, n);
        }
    }

    private void addPresent(double[] values, boolean isFirst, boolean isLast) {
        for (int i = 0; i < n; i++) {
            double value = values[i];
            if (Double.isNaN(value)) {
                continue;
            }
            if (isFirst || count[i] == 0) {
                first[i] = value;
            }
            if (isLast || count[i] == 0) {
                last[i] = value;
            }
            count[i]++;
            sum[i] += value;
            min[i] = Math.min(min[i], value);
            max[i] = Math.max(max[i], value);
        }
    }

    /** A shorter window that lies inside this one. */
    void merge(Columns part) {
        boolean isFirst = part.firstAt < firstAt;
        boolean isLast = part.lastAt >= lastAt;
        firstAt = Math.min(firstAt, part.firstAt);
        lastAt = Math.max(lastAt, part.lastAt);
        for (int i = 0; i < n; i++) {
            if (part.count[i] == 0) {
                continue;
            }
            if (isFirst || count[i] == 0) {
                first[i] = part.first[i];
            }
            if (isLast || count[i] == 0) {
                last[i] = part.last[i];
            }
            count[i] += part.count[i];
            sum[i] += part.sum[i];
            min[i] = Math.min(min[i], part.min[i]);
            max[i] = Math.max(max[i], part.max[i]);
        }
    }

    long lastAt() {
        return lastAt;
    }

    int bytes() {
        return 4 + n * (4 + 5 * 8);
    }

    int stateBytes() {
        return 16 + bytes();
    }

    void writeState(ByteBuffer out) {
        out.putLong(firstAt).putLong(lastAt);
        write(out);
    }

    static Columns readState(ByteBuffer in) {
        long firstAt = in.getLong();
        long lastAt = in.getLong();
        Columns columns = new Columns(in.getInt());
        columns.firstAt = firstAt;
        columns.lastAt = lastAt;
        in.asIntBuffer().get(columns.count);
        in.position(in.position() + 4 * columns.n);
        for (double[] column : new double[][] {columns.sum, columns.min, columns.max, columns.first, columns.last}) {
            in.asDoubleBuffer().get(column);
            in.position(in.position() + 8 * columns.n);
        }
        return columns;
    }

    void write(ByteBuffer out) {
        out.putInt(n);
        out.asIntBuffer().put(count);
        out.position(out.position() + 4 * n);
        for (double[] column : new double[][] {sum, min, max, first, last}) {
            out.asDoubleBuffer().put(column);
            out.position(out.position() + 8 * n);
        }
    }
}
