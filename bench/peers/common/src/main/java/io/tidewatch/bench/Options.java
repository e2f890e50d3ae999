package io.tidewatch.bench;

import java.util.HashMap;
import java.util.Map;

/**
 * What a contender is told: --bootstrap, --input, --output (prefix of its topics), --shape frames|rows, --threads, --work (a
 * folder of its own), --grace-ms.
 */
public record Options(
        String contender, String bootstrap, String input, String output, String shape, int threads, String work, long graceMs) {

    public static final long TEN_SECONDS = 10_000;
    public static final long MINUTE = 60_000;

    public static Options parse(String[] args) {
        Map<String, String> given = new HashMap<>();
        for (int i = 1; i + 1 < args.length; i += 2) {
            given.put(args[i], args[i + 1]);
        }
        return new Options(
                args[0],
                required(given, "--bootstrap"),
                required(given, "--input"),
                required(given, "--output"),
                given.getOrDefault("--shape", "frames"),
                Integer.parseInt(given.getOrDefault("--threads", "1")),
                required(given, "--work"),
                Long.parseLong(given.getOrDefault("--grace-ms", "2000")));
    }

    private static String required(Map<String, String> given, String name) {
        String value = given.get(name);
        if (value == null) {
            System.err.println("missing " + name);
            System.exit(64);
        }
        return value;
    }

    /** The topic of one tier: the same names that the stream processor uses. */
    public String tier(long windowMs) {
        return output + (windowMs == TEN_SECONDS ? "metrics.10s" : "metrics.1m");
    }
}
