package io.tidewatch.bench;

/** The series of a frame as they came: the bytes of the Avro array, with its end. */
final class Layout {
    final byte[] bytes;
    final int series;
    final long hash;
    /** Its server's newest windows under this layout. */
    Window ten;
    Window minute;

    Layout(byte[] bytes, int series) {
        this.bytes = bytes;
        this.series = series;
        long h = 0xcbf29ce484222325L;
        for (byte b : bytes) {
            h = (h ^ (b & 0xff)) * 0x100000001b3L;
        }
        hash = h;
    }
}
