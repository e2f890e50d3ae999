package io.tidewatch.bench;

import io.tidewatch.MetricFrame;
import io.tidewatch.Series;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.TreeMap;
import org.apache.avro.message.BinaryMessageDecoder;

/** Frames the way Avro's own library reads them: generated classes, single-object encoding. */
public final class Frames {
    private static final BinaryMessageDecoder<MetricFrame> DECODER = MetricFrame.getDecoder();

    private Frames() {}

    /** Null for an empty record: a tick, which the stream processor writes into a silent partition. */
    public static MetricFrame decode(byte[] bytes) {
        if (bytes == null || bytes.length == 0) {
            return null;
        }
        try {
            return DECODER.decode(bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** `server|metric{label=value,..}`: what a series is keyed by when each has its own record. */
    public static String key(MetricFrame frame, Series series) {
        StringBuilder key = new StringBuilder(96);
        key.append(frame.getServer()).append('|').append(series.getMetric());
        var labels = series.getLabels();
        if (!labels.isEmpty()) {
            key.append('{');
            // A map has no order, a key must have one.
            var sorted = labels.size() == 1 ? labels : new TreeMap<>(labels);
            sorted.forEach((name, value) -> key.append(name).append('=').append(value).append(','));
            key.setCharAt(key.length() - 1, '}');
        }
        return key.toString();
    }
}
