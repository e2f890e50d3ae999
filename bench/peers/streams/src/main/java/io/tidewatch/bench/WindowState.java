package io.tidewatch.bench;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.internals.WrappedStateStore;

/**
 * The engine's state as a store: an in-memory store with a changelog, written to only when Kafka Streams prepares a commit.
 * That moment is told by `flushCache`, as it is to Kafka Streams' own caching stores.
 */
final class WindowState extends WrappedStateStore<KeyValueStore<Bytes, byte[]>, Bytes, byte[]> {
    static final String NAME = "windows";

    private Engine engine;

    WindowState(KeyValueStore<Bytes, byte[]> log) {
        super(log);
    }

    /** Fills the engine with what was restored, and asks it for its changes from now on. */
    void serve(Engine engine) {
        try (KeyValueIterator<Bytes, byte[]> entries = wrapped().all()) {
            while (entries.hasNext()) {
                var entry = entries.next();
                engine.restore(entry.key.get(), entry.value);
            }
        }
        this.engine = engine;
    }

    @Override
    public void flushCache() {
        if (engine != null) {
            engine.flush((key, value) -> wrapped().put(Bytes.wrap(key), value));
        }
        super.flushCache();
    }
}
