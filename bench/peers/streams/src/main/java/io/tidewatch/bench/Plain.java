package io.tidewatch.bench;

import io.tidewatch.MetricFrame;
import io.tidewatch.Series;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Kafka Streams as its documentation teaches it: one record for each series, keyed by it, tumbling windows in RocksDB, the
 * result held back until the window closes. The re-keyed stream is written once for both tiers.
 */
final class Plain {
    /** Samples that have been sent through the repartition topic, and those that have come out of it. */
    private static final LongAdder SENT = new LongAdder();
    private static final LongAdder THROUGH = new LongAdder();

    private Plain() {}

    static StreamsMain.Contender build(Options options) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, Double> samples = builder
                .stream(options.input(), Consumed.with(Serdes.String(), frames())
                        .withTimestampExtractor((record, partitionTime) ->
                                record.value() instanceof MetricFrame frame
                                        ? frame.getCollectedAt().toEpochMilli()
                                        : partitionTime))
                .filter((server, frame) -> {
                    if (frame == null) {
                        Progress.RECORDS.increment();
                    }
                    return frame != null;
                })
                .flatMap((server, frame) -> {
                    List<Series> layout = frame.getLayout();
                    List<Double> values = frame.getValues();
                    List<KeyValue<String, Double>> out = new ArrayList<>(layout.size());
                    for (int i = 0; i < layout.size(); i++) {
                        out.add(KeyValue.pair(Frames.key(frame, layout.get(i)), values.get(i)));
                    }
                    SENT.add(out.size());
                    Progress.RECORDS.increment();
                    return out;
                })
                .repartition(Repartitioned.<String, Double>as("samples").withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Double()))
                .peek((series, value) -> THROUGH.increment());
        for (long length : new long[] {Options.TEN_SECONDS, Options.MINUTE}) {
            samples.groupByKey(Grouped.with(Serdes.String(), Serdes.Double()))
                    .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(length), Duration.ofMillis(options.graceMs())))
                    .aggregate(
                            Stats::new,
                            (series, value, stats) -> stats.add(value),
                            Materialized.<String, Stats, WindowStore<Bytes, byte[]>>as("windows-" + length)
                                    .withKeySerde(Serdes.String())
                                    .withValueSerde(stats()))
                    .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                    .toStream()
                    .map((series, stats) -> KeyValue.pair(series.key(), stats.toRecord(series.window().start())))
                    .to(options.tier(length), Produced.with(Serdes.String(), Serdes.ByteArray()));
        }
        Properties optimised = new Properties();
        optimised.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        return new StreamsMain.Contender(builder.build(optimised), Plain::records);
    }

    /** Input records whose samples are all through the second half too. */
    private static long records() {
        long through = THROUGH.sum();
        long records = Progress.RECORDS.sum();
        long sent = SENT.sum();
        return through >= sent ? records : (long) ((double) records * through / Math.max(1, sent));
    }

    private static Serde<MetricFrame> frames() {
        Serializer<MetricFrame> never = (topic, frame) -> {
            throw new UnsupportedOperationException();
        };
        Deserializer<MetricFrame> decode = (topic, bytes) -> Frames.decode(bytes);
        return Serdes.serdeFrom(never, decode);
    }

    private static Serde<Stats> stats() {
        return Serdes.serdeFrom((topic, stats) -> stats == null ? null : stats.toBytes(), (topic, bytes) -> Stats.fromBytes(bytes));
    }
}
