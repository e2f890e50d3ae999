package io.tidewatch.bench;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** Runs one of the two Flink contenders over what the input topic holds now: a bounded job with checkpoints, in this JVM. */
public final class FlinkMain {
    private static final long CHECKPOINT_MS = 5_000;

    private FlinkMain() {}

    public static void main(String[] args) throws Exception {
        Options options = Options.parse(args);
        StreamExecutionEnvironment env = environment(options);
        switch (options.contender()) {
            case "flink-plain" -> Plain.build(env, options);
            case "flink-tuned" -> Tuned.build(env, options);
            default -> throw new IllegalArgumentException(options.contender());
        }
        Progress.tell(Progress.RECORDS::sum);
        // Ends with a checkpoint, which commits the last transaction.
        env.execute(options.contender());
        System.out.println("{\"records\": " + Progress.RECORDS.sum() + "}");
        System.exit(0);
    }

    private static StreamExecutionEnvironment environment(Options options) {
        Configuration config = new Configuration();
        config.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        config.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + options.work() + "/checkpoints");
        // A peer that failed is reported as failed, not restarted.
        config.set(RestartStrategyOptions.RESTART_STRATEGY, "disable");
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(256));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(256));
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(32));
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(options.threads(), config);
        env.enableCheckpointing(CHECKPOINT_MS, CheckpointingMode.EXACTLY_ONCE);
        env.getConfig().enableObjectReuse();
        env.getConfig().setAutoWatermarkInterval(200);
        return env;
    }

    static <T> KafkaSourceBuilder<T> source(Options options) {
        return KafkaSource.<T>builder()
                .setBootstrapServers(options.bootstrap())
                .setTopics(options.input())
                .setGroupId(options.output() + options.contender())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setProperty("max.poll.records", "4000")
                .setProperty("max.partition.fetch.bytes", Integer.toString(4 << 20))
                .setProperty("fetch.min.bytes", Integer.toString(64 << 10))
                .setProperty("fetch.max.wait.ms", "50");
    }

    static <T> KafkaSink<T> sink(Options options, long length, KafkaRecordSerializationSchema<T> serializer) {
        return KafkaSink.<T>builder()
                .setBootstrapServers(options.bootstrap())
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(options.output() + options.contender() + "-" + length)
                .setRecordSerializer(serializer)
                .setProperty("transaction.timeout.ms", "600000")
                .setProperty("compression.type", "lz4")
                .setProperty("batch.size", Integer.toString(1 << 20))
                .setProperty("linger.ms", "20")
                .setProperty("buffer.memory", Long.toString(128L << 20))
                .build();
    }
}
