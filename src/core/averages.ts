/** Sums, averages and the spread of numbers. */

export function sumOf(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i] as number
  return sum
}

/** The median; 0 if there are no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  if (sorted.length === 0) return 0
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** c_v, the population standard deviation over the mean; 0 if the mean is not positive. */
export function coefficientOfVariation(counts: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < counts.length; i++) sum += counts[i] as number
  const mean = sum / counts.length
  if (!(mean > 0)) return 0
  let squares = 0
  for (let i = 0; i < counts.length; i++) squares += ((counts[i] as number) - mean) ** 2
  return Math.sqrt(squares / counts.length) / mean
}

/** The largest value over the mean; 1 if the sum of the values is not positive. */
export function maxOverMean(values: readonly number[]): number {
  const sum = sumOf(values)
  return sum > 0 ? (Math.max(...values) * values.length) / sum : 1
}

/** The value at index `one` over the median of the other values; 1 if that median is not positive. */
export function overOthers(values: readonly number[], one: number): number {
  const others = median(values.filter((_, i) => i !== one))
  return others > 0 ? (values[one] as number) / others : 1
}
