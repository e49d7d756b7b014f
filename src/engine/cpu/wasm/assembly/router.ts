/**
 * The learned router on rows of logits: softmax, the k best experts of each prototype, and sums for its losses. A row
 * has the logits of a token in a prototype; it is so narrow that it stays in registers and the L1 cache.
 *
 * All code is scalar, because processors overlap scalar work well from row to row.
 */
import { Elementary } from './elementary'

/**
 * Routes tokens by their logits [tokens, prototypes, width]. It writes the probability of the same shape, log Σ exp
 * [tokens, prototypes], and for each token the k best experts of every prototype, int32, and their probabilities
 * [tokens, prototypes · k]. Of equal probabilities the first is better.
 *
 * It adds to totals, float64 [2N + 2] for N = prototypes · width experts: Σ probability [N], the number of choices [N]
 * (only of first choices, with `first`), Σ (log Σ exp)², Σ entropy.
 */
export function routeRows(
  logits: usize,
  probability: usize,
  logSum: usize,
  expert: usize,
  gate: usize,
  totals: usize,
  tokens: u32,
  prototypes: u32,
  width: u32,
  k: u32,
  first: u32,
): void {
  const bytes: usize = width * 4
  const counts = totals + 8 * prototypes * width
  const squares = counts + 8 * prototypes * width
  for (; tokens > 0; tokens--) {
    for (let z: u32 = 0; z < prototypes; z++) {
      softmaxOf(logits, probability, logSum, totals + 8 * z * width, squares, width)
      for (let j: u32 = 0; j < k; j++) {
        const best = bestOf(probability, width, expert - 4 * j, j, z * width)
        store<u32>(expert, z * width + best)
        store<f32>(gate, load<f32>(probability + 4 * best))
        if (j === 0 || !first) addTo(counts + 8 * (z * width + best), 1)
        expert += 4
        gate += 4
      }
      logits += bytes
      probability += bytes
      logSum += 4
    }
  }
}

function softmaxOf(x: usize, p: usize, logSum: usize, sums: usize, squares: usize, width: u32): void {
  let largest = load<f32>(x)
  for (let i: u32 = 1; i < width; i++) largest = max<f32>(largest, load<f32>(x + 4 * i))
  let mass: f64 = 0
  for (let i: u32 = 0; i < width; i++) {
    const e = Elementary.exp(load<f32>(x + 4 * i) - largest)
    store<f32>(p + 4 * i, e)
    mass += e
  }
  const share = <f32>(1 / mass)
  const logSumOf: f64 = <f64>largest + Elementary.log(mass)
  // −Σ p·log p = log Σ exp − Σ p·x
  let mean: f64 = 0
  for (let i: u32 = 0; i < width; i++) {
    const value = load<f32>(p + 4 * i) * share
    store<f32>(p + 4 * i, value)
    addTo(sums + 8 * i, value)
    mean += <f64>value * (<f64>load<f32>(x + 4 * i) - logSumOf)
  }
  store<f32>(logSum, <f32>logSumOf)
  addTo(squares, logSumOf * logSumOf)
  addTo(squares + 8, -mean)
}

/**
 * The index of the largest element that is not among the `count` chosen ones, and of equal elements the first. The
 * chosen ones are indices plus `offset`.
 */
function bestOf(p: usize, width: u32, chosen: usize, count: u32, offset: u32): u32 {
  let best: u32 = width
  for (let i: u32 = 0; i < width; i++) {
    if (best < width && !(load<f32>(p + 4 * i) > load<f32>(p + 4 * best))) continue
    let taken = false
    for (let j: u32 = 0; j < count; j++) taken = taken || load<u32>(chosen + 4 * j) === offset + i
    if (!taken) best = i
  }
  return best
}

function addTo(sum: usize, value: f64): void {
  store<f64>(sum, load<f64>(sum) + value)
}

/**
 * The gradient of the logits, p ∘ (s − Σ p·s + square · log Σ exp), with s = slope + dGate of the chosen experts.
 * `slope` [prototypes, width] is the gradient of each probability, `dGate` the gradient of the gates, and `square`
 * twice the gradient of (log Σ exp)².
 */
export function routeRowsGradient(
  probability: usize,
  logSum: usize,
  expert: usize,
  slope: usize,
  dGate: usize,
  square: f32,
  dLogits: usize,
  tokens: u32,
  prototypes: u32,
  width: u32,
  k: u32,
): void {
  const bytes: usize = width * 4
  for (; tokens > 0; tokens--) {
    for (let z: u32 = 0; z < prototypes; z++) {
      const offset = z * width
      let along: f64 = 0
      for (let i: u32 = 0; i < width; i++)
        along += <f64>load<f32>(probability + 4 * i) * <f64>load<f32>(slope + 4 * (offset + i))
      for (let j: u32 = 0; j < k; j++)
        along += <f64>load<f32>(probability + 4 * (load<u32>(expert + 4 * j) - offset)) * <f64>load<f32>(dGate + 4 * j)
      const rest = <f32>(<f64>square * <f64>load<f32>(logSum) - along)
      for (let i: u32 = 0; i < width; i++)
        store<f32>(dLogits + 4 * i, load<f32>(probability + 4 * i) * (load<f32>(slope + 4 * (offset + i)) + rest))
      for (let j: u32 = 0; j < k; j++) {
        const i = 4 * (load<u32>(expert + 4 * j) - offset)
        store<f32>(dLogits + i, load<f32>(dLogits + i) + load<f32>(probability + i) * load<f32>(dGate + 4 * j))
      }
      expert += 4 * k
      dGate += 4 * k
      probability += bytes
      dLogits += bytes
      logSum += 4
    }
  }
}
