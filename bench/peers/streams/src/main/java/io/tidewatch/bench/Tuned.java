package io.tidewatch.bench;

import java.time.Duration;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Kafka Streams as one would write it who needs every cycle: a processor on the bytes of whole frames, no re-keying, one record
 * out for each server and window. Its windows are objects in memory; what changed since the last commit goes to a changelog
 * once for each commit, in the same transaction as the output and the offsets, so that a crash loses and doubles nothing.
 */
final class Tuned {
    private Tuned() {}

    static StreamsMain.Contender build(Options options) {
        Topology topology = new Topology();
        topology.addSource("frames", new ByteArrayDeserializer(), new ByteArrayDeserializer(), options.input());
        topology.addProcessor("window", () -> new Windowing(options), "frames");
        topology.addStateStore(new WindowStateBuilder(), "window");
        for (long length : new long[] {Options.TEN_SECONDS, Options.MINUTE}) {
            topology.addSink(
                    sink(length), options.tier(length), new ByteArraySerializer(), new ByteArraySerializer(), "window");
        }
        return new StreamsMain.Contender(topology, Progress.RECORDS::sum);
    }

    private static String sink(long length) {
        return "sink-" + length;
    }

    private static final class Windowing implements Processor<byte[], byte[], byte[], byte[]> {
        private static final String TENS = sink(Options.TEN_SECONDS);
        private static final String MINUTES = sink(Options.MINUTE);

        private final Options options;
        private ProcessorContext<byte[], byte[]> context;
        private Engine engine;

        Windowing(Options options) {
            this.options = options;
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            engine = new Engine(options.graceMs(), this::closed);
            WindowState state = context.getStateStore(WindowState.NAME);
            state.serve(engine);
            context.schedule(Duration.ofSeconds(10), PunctuationType.STREAM_TIME, engine::advance);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            engine.take(record.value());
            Progress.RECORDS.increment();
        }

        private void closed(Window window) {
            String sink = window.lengthMs() == Options.TEN_SECONDS ? TENS : MINUTES;
            context.forward(new Record<>(window.serverName(), window.toRecord(), window.end()), sink);
        }

        @Override
        public void close() {
            if (engine.late() > 0) {
                System.err.println(engine.late() + " frames were late");
            }
        }
    }
}
