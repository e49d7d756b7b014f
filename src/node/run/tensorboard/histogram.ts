/**
 * Writes the message HistogramProto (tensorflow/core/framework/histogram.proto), which TensorBoard shows as a histogram
 * and as quantiles.
 */
import { doubleField, doublesField, message } from '../../../core/text/protobuf.ts'

/** Number of buckets, as in TensorBoard's own histograms. */
const BUCKETS = 30

/** A histogram of equally wide buckets. @param values At least one number. */
export function histogram(values: readonly number[]): Uint8Array {
  const [min, max] = [Math.min(...values), Math.max(...values)]
  const width = (max - min) / BUCKETS
  const counts = new Array<number>(width === 0 ? 1 : BUCKETS).fill(0)
  const bucketOf = (value: number): number =>
    width === 0 ? 0 : Math.min(counts.length - 1, Math.floor((value - min) / width))
  for (const value of values) {
    const bucket = bucketOf(value)
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  const limits = counts.map((_, i) => (i === counts.length - 1 ? max : min + (i + 1) * width))
  const sum = (of: (value: number) => number): number => values.reduce((all, value) => all + of(value), 0)
  return message(
    doubleField(1, min),
    doubleField(2, max),
    doubleField(3, values.length),
    doubleField(
      4,
      sum((value) => value),
    ),
    doubleField(
      5,
      sum((value) => value * value),
    ),
    doublesField(6, limits),
    doublesField(7, counts),
  )
}
