package io.tidewatch.bench;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** Runs one of the two Kafka Streams contenders over what the input topic holds now, then commits and ends. */
public final class StreamsMain {
    private StreamsMain() {}

    /** What a contender is: how it computes, and how to tell how far it is. */
    record Contender(Topology topology, LongSupplier records) {}

    public static void main(String[] args) throws Exception {
        Options options = Options.parse(args);
        Contender contender =
                switch (options.contender()) {
                    case "kafka-streams-plain" -> Plain.build(options);
                    case "kafka-streams-tuned" -> Tuned.build(options);
                    default -> throw new IllegalArgumentException(options.contender());
                };
        Properties config = config(options);
        long total = recordsIn(options);
        boolean done;
        try (KafkaStreams streams = new KafkaStreams(contender.topology(), config)) {
            streams.setUncaughtExceptionHandler(e -> {
                e.printStackTrace();
                // A peer that failed is reported as failed, not restarted.
                Runtime.getRuntime().halt(3);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            Progress.tell(contender.records());
            streams.start();
            done = Progress.await(contender.records(), total);
            streams.metrics().forEach((name, metric) -> {
                // Records that came after their window had closed.
                if (name.name().equals("dropped-records-total") && (double) metric.metricValue() > 0) {
                    System.err.println(name.tags() + " dropped " + metric.metricValue());
                }
            });
            // Commits what is processed.
            done &= streams.close(Duration.ofSeconds(120));
        }
        System.exit(done ? 0 : 2);
    }

    private static Properties config(Options options) {
        Properties config = new Properties();
        // The prefix of the output is fresh for each run: so are the group, the changelogs and the transactional ids.
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, options.output() + options.contender());
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap());
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
        config.put(StreamsConfig.STATE_DIR_CONFIG, options.work());
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // The default with exactly once, 100 ms, writes every window's state ten times a second; seldom is cheaper.
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 5_000);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), 60_000);
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 512L << 20);
        config.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        if (options.contender().endsWith("tuned")) {
            config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 4_000);
            config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        } else {
            // In small bites: what one partition is ahead of another in event time would come late behind the repartition topic.
            config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 2_000);
            config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 128 << 10);
        }
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), 64 << 10);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG), 50);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 512 << 10);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.MAX_REQUEST_SIZE_CONFIG), 4 << 20);
        return config;
    }

    private static long recordsIn(Options options) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", options.bootstrap()))) {
            var partitions = admin.describeTopics(java.util.List.of(options.input())).allTopicNames().get()
                    .get(options.input()).partitions();
            var latest = partitions.stream().collect(Collectors.toMap(
                    p -> new TopicPartition(options.input(), p.partition()), p -> OffsetSpec.latest()));
            return admin.listOffsets(latest).all().get().values().stream().mapToLong(o -> o.offset()).sum();
        }
    }
}
