package io.tidewatch.bench;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * The engine as an operator. Its windows are operator state: a checkpoint takes a copy of all of them, and a restart of the same
 * parallelism gives each instance its own back, together with the partitions of its source.
 */
final class WindowOperator extends AbstractStreamOperator<Tuple2<byte[], byte[]>>
        implements OneInputStreamOperator<byte[], Tuple2<byte[], byte[]>> {
    private static final long serialVersionUID = 1;

    private final long graceMs;
    private transient Engine engine;
    private transient ListState<byte[]> keys;
    private transient ListState<byte[]> values;
    private transient StreamRecord<Tuple2<byte[], byte[]>> result;

    WindowOperator(long graceMs) {
        this.graceMs = graceMs;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        engine = new Engine(graceMs, this::closed);
        result = new StreamRecord<>(new Tuple2<>());
        keys = list(context, "keys");
        values = list(context, "values");
        var value = values.get().iterator();
        for (byte[] key : keys.get()) {
            engine.restore(key, value.next());
        }
    }

    private static ListState<byte[]> list(StateInitializationContext context, String name) throws Exception {
        return context.getOperatorStateStore()
                .getListState(new ListStateDescriptor<>(name, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        List<byte[]> allKeys = new ArrayList<>();
        List<byte[]> allValues = new ArrayList<>();
        engine.snapshot((key, value) -> {
            allKeys.add(key);
            allValues.add(value);
        });
        keys.update(allKeys);
        values.update(allValues);
    }

    @Override
    public void processElement(StreamRecord<byte[]> element) {
        engine.take(element.getValue());
        Progress.RECORDS.increment();
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        // Only for servers that are silent; at the end of the input it is the end of time.
        engine.advance(mark.getTimestamp());
        super.processWatermark(mark);
    }

    private void closed(Window window) {
        Tuple2<byte[], byte[]> pair = result.getValue();
        pair.f0 = window.serverName();
        pair.f1 = window.toRecord();
        result.setTimestamp(window.end());
        if (window.lengthMs() == Options.TEN_SECONDS) {
            output.collect(result);
        } else {
            output.collect(Tuned.MINUTES, result);
        }
    }
}
