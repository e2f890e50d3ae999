package io.tidewatch.bench;

import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** Makes a {@link WindowState} around an in-memory store whose changes are logged. */
final class WindowStateBuilder implements StoreBuilder<WindowState> {
    private final StoreBuilder<KeyValueStore<Bytes, byte[]>> log = Stores.keyValueStoreBuilder(
                    Stores.inMemoryKeyValueStore(WindowState.NAME), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingDisabled()
            .withLoggingEnabled(Map.of());

    @Override
    public WindowState build() {
        return new WindowState(log.build());
    }

    @Override
    public String name() {
        return log.name();
    }

    @Override
    public Map<String, String> logConfig() {
        return log.logConfig();
    }

    @Override
    public boolean loggingEnabled() {
        return true;
    }

    @Override
    public StoreBuilder<WindowState> withCachingEnabled() {
        return this;
    }

    @Override
    public StoreBuilder<WindowState> withCachingDisabled() {
        return this;
    }

    @Override
    public StoreBuilder<WindowState> withLoggingEnabled(Map<String, String> config) {
        return this;
    }

    @Override
    public StoreBuilder<WindowState> withLoggingDisabled() {
        throw new UnsupportedOperationException("a crash would lose the open windows");
    }
}
