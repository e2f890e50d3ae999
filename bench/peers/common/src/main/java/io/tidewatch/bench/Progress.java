package io.tidewatch.bench;

import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;

/** Tells on standard output, twenty times a second, how many input records are through. */
public final class Progress {
    /** Input records processed. */
    public static final LongAdder RECORDS = new LongAdder();

    private static final long PERIOD_MS = 50;
    private static final long IDLE_MS = 60_000;

    private Progress() {}

    public static void tell(LongSupplier records) {
        Thread teller = new Thread(() -> {
            while (true) {
                line(records.getAsLong());
                pause();
            }
        }, "progress");
        teller.setDaemon(true);
        teller.start();
    }

    /** Returns when `records` has reached `total`; false when it stood still for a minute before. */
    public static boolean await(LongSupplier records, long total) {
        long seen = -1;
        long since = System.nanoTime();
        while (true) {
            long now = records.getAsLong();
            if (now >= total) {
                line(now);
                return true;
            }
            if (now != seen) {
                seen = now;
                since = System.nanoTime();
            } else if (System.nanoTime() - since > IDLE_MS * 1_000_000) {
                System.err.println("no progress for a minute at " + now + " of " + total);
                return false;
            }
            pause();
        }
    }

    private static void line(long records) {
        System.out.println("{\"records\": " + records + "}");
        System.out.flush();
    }

    private static void pause() {
        try {
            Thread.sleep(PERIOD_MS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
