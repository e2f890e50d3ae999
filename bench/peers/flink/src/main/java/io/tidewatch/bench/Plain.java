package io.tidewatch.bench;

import io.tidewatch.MetricFrame;
import io.tidewatch.Series;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Flink as its documentation teaches it: one record for each series, keyed by it, tumbling event-time windows with an
 * incremental aggregate, an exactly-once sink.
 */
final class Plain {
    private static final TypeInformation<Tuple2<String, Double>> SAMPLE = Types.TUPLE(Types.STRING, Types.DOUBLE);
    private static final TypeInformation<Tuple2<String, byte[]>> RESULT =
            Types.TUPLE(Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE));

    private Plain() {}

    static void build(StreamExecutionEnvironment env, Options options) {
        var source = FlinkMain.<MetricFrame>source(options).setValueOnlyDeserializer(new Decode()).build();
        // Watermarks by partition, inside of the source: the slowest partition holds the others' windows open.
        WatermarkStrategy<MetricFrame> watermarks = WatermarkStrategy
                .<MetricFrame>forBoundedOutOfOrderness(Duration.ofMillis(options.graceMs()))
                .withTimestampAssigner((frame, timestamp) -> frame.getCollectedAt().toEpochMilli());
        KeyedStream<Tuple2<String, Double>, String> samples = env.fromSource(source, watermarks, "frames")
                .flatMap(new Samples())
                .returns(SAMPLE)
                .keyBy(sample -> sample.f0, Types.STRING);
        for (long length : new long[] {Options.TEN_SECONDS, Options.MINUTE}) {
            samples.window(TumblingEventTimeWindows.of(Duration.ofMillis(length)))
                    .aggregate(new Aggregate(), new Result(), Types.POJO(Stats.class), Types.POJO(Stats.class), RESULT)
                    .sinkTo(FlinkMain.sink(options, length, new Encode(options.tier(length))));
        }
    }

    private static final class Decode extends AbstractDeserializationSchema<MetricFrame> {
        private static final long serialVersionUID = 1;

        Decode() {
            // Source and flatMap are chained: a frame is never written.
            super(Types.GENERIC(MetricFrame.class));
        }

        @Override
        public MetricFrame deserialize(byte[] bytes) {
            MetricFrame frame = Frames.decode(bytes);
            if (frame == null) {
                Progress.RECORDS.increment();
            }
            return frame;
        }
    }

    private static final class Samples implements FlatMapFunction<MetricFrame, Tuple2<String, Double>> {
        private static final long serialVersionUID = 1;

        private final Tuple2<String, Double> sample = new Tuple2<>();

        @Override
        public void flatMap(MetricFrame frame, Collector<Tuple2<String, Double>> out) {
            List<Series> layout = frame.getLayout();
            List<Double> values = frame.getValues();
            for (int i = 0; i < layout.size(); i++) {
                sample.f0 = Frames.key(frame, layout.get(i));
                sample.f1 = values.get(i);
                out.collect(sample);
            }
            Progress.RECORDS.increment();
        }
    }

    private static final class Aggregate implements AggregateFunction<Tuple2<String, Double>, Stats, Stats> {
        private static final long serialVersionUID = 1;

        @Override
        public Stats createAccumulator() {
            return new Stats();
        }

        @Override
        public Stats add(Tuple2<String, Double> sample, Stats stats) {
            return stats.add(sample.f1);
        }

        @Override
        public Stats getResult(Stats stats) {
            return stats;
        }

        @Override
        public Stats merge(Stats a, Stats b) {
            return a.merge(b);
        }
    }

    private static final class Result extends ProcessWindowFunction<Stats, Tuple2<String, byte[]>, String, TimeWindow> {
        private static final long serialVersionUID = 1;

        @Override
        public void process(String series, Context context, Iterable<Stats> stats, Collector<Tuple2<String, byte[]>> out) {
            out.collect(Tuple2.of(series, stats.iterator().next().toRecord(context.window().getStart())));
        }
    }

    private static final class Encode implements KafkaRecordSerializationSchema<Tuple2<String, byte[]>> {
        private static final long serialVersionUID = 1;

        private final String topic;

        Encode(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Tuple2<String, byte[]> result, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(topic, result.f0.getBytes(StandardCharsets.UTF_8), result.f1);
        }
    }
}
