package io.tidewatch.bench;

import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.OutputTag;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Flink as one would write it who needs every cycle: the bytes of whole frames, chained from the source to the sink without a
 * shuffle (the topic is keyed by server already), windows as columns on the heap, one record out for each server and window.
 */
final class Tuned {
    static final OutputTag<Tuple2<byte[], byte[]>> MINUTES =
            new OutputTag<>("minutes", Types.TUPLE(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));

    private Tuned() {}

    static void build(StreamExecutionEnvironment env, Options options) {
        var source = FlinkMain.<byte[]>source(options).setValueOnlyDeserializer(new Bytes()).build();
        // The source stamps records with Kafka's timestamps: nothing has to be read for a watermark.
        WatermarkStrategy<byte[]> watermarks = WatermarkStrategy.forBoundedOutOfOrderness(Duration.ofMillis(options.graceMs()));
        var tens = env.fromSource(source, watermarks, "frames")
                .transform("window", MINUTES.getTypeInfo(), new WindowOperator(options.graceMs()));
        tens.sinkTo(FlinkMain.sink(options, Options.TEN_SECONDS, new Encode(options.tier(Options.TEN_SECONDS))));
        tens.getSideOutput(MINUTES)
                .sinkTo(FlinkMain.sink(options, Options.MINUTE, new Encode(options.tier(Options.MINUTE))));
    }

    private static final class Bytes extends AbstractDeserializationSchema<byte[]> {
        private static final long serialVersionUID = 1;

        @Override
        public byte[] deserialize(byte[] bytes) {
            return bytes == null ? new byte[0] : bytes;
        }
    }

    private static final class Encode implements KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>> {
        private static final long serialVersionUID = 1;

        private final String topic;

        Encode(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Tuple2<byte[], byte[]> result, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(topic, result.f0, result.f1);
        }
    }
}
