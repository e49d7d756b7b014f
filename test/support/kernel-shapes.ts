/** Test cases of kernels: special cases by hand, random cases, and cases with moderate numbers for bf16. */
import fc from 'fast-check'
import {
  attentionCase,
  crossEntropyCase,
  expertCase,
  expertLinearCase,
  matmulCase,
  normCase,
  routingCase,
} from './kernel-cases.ts'
import type { KernelCase } from './kernel-check.ts'
import { drawnPlacements, specialPlacements } from './placement-cases.ts'
import { drawnRouters, specialRouters } from './router-cases.ts'
import { drawnTokens, specialTokens } from './token-cases.ts'

/** Special cases by op. Ops of the family `kernel` have the name of the op. */
export const special: Record<string, KernelCase[]> = {
  matmul: [
    matmulCase({ m: 1, k: 1, n: 1 }),
    matmulCase({ m: 1, k: 7, n: 300 }),
    matmulCase({ m: 300, k: 1, n: 1, transposeA: true }),
    matmulCase({ m: 257, k: 65, n: 129, alpha: -0.3 }),
    matmulCase({ m: 33, k: 513, n: 1, transposeB: true }),
    // With three threads the last band has one row of aᵀ, one column of b, or one column of bᵀ.
    matmulCase({ m: 65, k: 70, n: 33, transposeA: true }),
    matmulCase({ m: 20, k: 9, n: 65 }),
    matmulCase({ m: 20, k: 9, n: 65, transposeB: true }),
    matmulCase({ batch: [2], m: 70, k: 9, n: 131, transposeA: true, transposeB: true, alpha: 2 }),
    matmulCase({ batch: [2, 3], m: 5, k: 4, n: 3, transposeB: true }),
    matmulCase({ m: 65, k: 33, n: 47, size: 1e8 }),
    matmulCase({ m: 40, k: 3, n: 40, size: 1e-10 }),
    matmulCase({ m: 0, k: 3, n: 2 }),
    matmulCase({ m: 2, k: 0, n: 2 }),
    matmulCase({ batch: [0], m: 2, k: 3, n: 2 }),
    matmulCase({ m: 65, k: 33, n: 47, plus: 'input', alpha: 0.5 }),
    matmulCase({ batch: [3], m: 5, k: 33, n: 7, plus: 'input', transposeB: true }),
    matmulCase({ m: 131, k: 4, n: 9, plus: 'onnx', transposeA: true }),
    matmulCase({ m: 3, k: 4, n: 200, plus: 'kernel' }),
  ],
  'attention-kernel': [
    attentionCase({ batch: 1, sequence: 1, heads: 1, size: 2, rotary: true }),
    attentionCase({ batch: 1, sequence: 1, heads: 1, size: 3, rotary: false }),
    attentionCase({ batch: 1, sequence: 2, heads: 1, size: 2, rotary: false }),
    attentionCase({ batch: 2, sequence: 130, heads: 3, size: 2, rotary: false }),
    attentionCase({ batch: 3, sequence: 17, heads: 2, size: 6, rotary: true }),
    attentionCase({ batch: 2, sequence: 31, heads: 3, size: 5, rotary: false }),
    attentionCase({ batch: 1, sequence: 128, heads: 1, size: 4, rotary: true }),
    attentionCase({ batch: 1, sequence: 129, heads: 2, size: 4, rotary: true }),
    attentionCase({ batch: 2, sequence: 300, heads: 2, size: 10, rotary: true }),
    // More heads than fit into a task, and a number that is not divisible.
    attentionCase({ batch: 2, sequence: 70, heads: 8, size: 4, rotary: true }),
    attentionCase({ batch: 1, sequence: 5, heads: 7, size: 2, rotary: true }),
    // Heads of queries that share keys: all share one head, pairs share in several tasks, and heads share in documents.
    attentionCase({ batch: 2, sequence: 70, heads: 5, keyHeads: 1, size: 6, rotary: true }),
    attentionCase({ batch: 1, sequence: 130, heads: 12, keyHeads: 6, size: 4, rotary: true }),
    attentionCase({ batch: 2, sequence: 66, heads: 6, keyHeads: 2, size: 5, rotary: false }),
    attentionCase({ batch: 2, sequence: 130, heads: 9, keyHeads: 3, size: 4, rotary: true, documents: [5, 64, 129] }),
    // Windows of one token, less than a block, across blocks, and as long as the sequence; in documents.
    attentionCase({ batch: 2, sequence: 130, heads: 3, size: 4, rotary: true, window: 1 }),
    attentionCase({ batch: 1, sequence: 200, heads: 4, keyHeads: 2, size: 6, rotary: true, window: 17 }),
    attentionCase({ batch: 2, sequence: 300, heads: 6, keyHeads: 3, size: 3, rotary: false, window: 100 }),
    attentionCase({ batch: 1, sequence: 70, heads: 2, size: 4, rotary: true, window: 70 }),
    attentionCase({ batch: 2, sequence: 200, heads: 2, size: 4, rotary: true, window: 40, documents: [66, 130, 199] }),
    // Several tiles of keys, also with long blocks of queries; windows and documents across tiles, and shared keys.
    attentionCase({ batch: 1, sequence: 700, heads: 2, keyHeads: 1, size: 4, rotary: true, documents: [300, 600] }),
    attentionCase({ batch: 1, sequence: 1030, heads: 2, size: 3, rotary: false, window: 300 }),
    attentionCase({ batch: 1, sequence: 1100, heads: 1, size: 2, rotary: true }),
    // Scores of up to 1e8 and 1e16.
    attentionCase({ batch: 1, sequence: 140, heads: 2, size: 4, rotary: true, range: 1e4 }),
    attentionCase({ batch: 1, sequence: 30, heads: 2, size: 4, rotary: false, range: 1e8 }),
    // Documents that begin within a block, at its edges, at the last token, and at every token.
    attentionCase({ batch: 3, sequence: 130, heads: 3, size: 4, rotary: true, documents: [5, 64, 129] }),
    attentionCase({ batch: 2, sequence: 150, heads: 8, size: 3, rotary: false, documents: [1, 75, 76] }),
    attentionCase({ batch: 1, sequence: 5, heads: 1, size: 2, rotary: false, documents: [1, 2, 3, 4] }),
    attentionCase({ batch: 1, sequence: 140, heads: 2, size: 4, rotary: true, range: 1e4, documents: [70] }),
  ],
  'expert-ffn-kernel': [true, false].flatMap((gated) => [
    expertCase({ rows: [1], width: 1, hidden: 1, gated }),
    expertCase({ rows: [0, 3, 0, 17, 0], left: 5, width: 7, hidden: 11, gated }),
    expertCase({ rows: [0, 0, 0], left: 4, width: 6, hidden: 5, gated, accumulate: true }),
    expertCase({ rows: [0, 3, 17, 1], left: 1, width: 33, hidden: 35, gated, accumulate: true }),
    // More rows than a piece, and exactly one piece.
    gated
      ? expertCase({ rows: [512, 0, 1100, 513], width: 5, hidden: 3, gated })
      : expertCase({ rows: [1025, 2], left: 3, width: 3, hidden: 5, gated, accumulate: true }),
    // Rows of several source ranks: some without rows, and more parameters than a task adds.
    expertCase({ rows: [3, 0, 17, 1, 0, 0], sources: 3, left: 2, width: 33, hidden: 35, gated }),
    expertCase({ rows: [5, 0, 2, 9, 600, 1, 0, 4], sources: 4, width: 150, hidden: 130, gated, bySource: true }),
    // So many experts that a task adds the gradients of some sources, or of all.
    expertCase({ rows: [5, 0, 2, 9, 1, 0, 4, 2, 0, 3, 0, 1], sources: 4, width: 17, hidden: 13, gated }),
    expertCase({
      rows: [2, 1, 0, 9, 0, 1, 4, 0, 0, 3, 0, 1, 0, 5, 0, 2, 0, 1],
      sources: 3,
      width: 4,
      hidden: 5,
      gated,
    }),
    // Activations that saturate.
    expertCase({ rows: [9, 4], width: 5, hidden: 6, gated, range: 1e4 }),
  ]),
  'expert-linear-kernel': [
    expertLinearCase({ rows: [1], width: 1, hidden: 1 }),
    expertLinearCase({ rows: [0, 3, 0, 17, 0], left: 5, width: 7, hidden: 11 }),
    expertLinearCase({ rows: [0, 0, 0], left: 4, width: 6, hidden: 5, accumulate: true }),
    expertLinearCase({ rows: [0, 3, 17, 1], left: 1, width: 33, hidden: 99, accumulate: true }),
    // More rows than a piece, and exactly one piece.
    expertLinearCase({ rows: [512, 0, 1100, 513], width: 5, hidden: 3 }),
    expertLinearCase({ rows: [1025, 2], left: 3, width: 3, hidden: 5, accumulate: true }),
    expertLinearCase({ rows: [3, 0, 17, 1, 2], sources: 5, left: 2, width: 33, hidden: 35 }),
    expertLinearCase({ rows: [3, 0, 17, 1, 2, 4], sources: 2, width: 9, hidden: 4, bySource: true }),
    expertLinearCase({ rows: [5, 0, 2, 9, 600, 1, 4, 2, 0, 3, 0, 1], sources: 2, width: 7, hidden: 3 }),
    // The row of zeros of an expert without rows is longer than a piece of gradients.
    expertLinearCase({ rows: [0, 2], width: 700, hidden: 1, accumulate: true }),
    expertLinearCase({ rows: [9, 4], width: 5, hidden: 6, range: 1e4 }),
  ],
  routing: [
    routingCase({ tokens: 1, choices: 1, width: 1, empty: 0, dropped: 0, seed: 1 }),
    routingCase({ tokens: 0, choices: 2, width: 3, empty: 0, dropped: 0, seed: 2 }),
    routingCase({ tokens: 300, choices: 1, width: 17, empty: 0, dropped: 0, seed: 3 }),
    routingCase({ tokens: 141, choices: 3, width: 5, empty: 40, dropped: 0.4, seed: 4 }),
    routingCase({ tokens: 141, choices: 2, width: 5, empty: 3, dropped: 0.4, seed: 5, residual: true }),
    routingCase({ tokens: 9, choices: 2, width: 4, empty: 6, dropped: 1, seed: 6, residual: true }),
  ],
  'linear-cross-entropy': [
    crossEntropyCase({ rows: 1, width: 1, vocabulary: 1, uncounted: 0 }),
    crossEntropyCase({ rows: 0, width: 3, vocabulary: 5, uncounted: 0 }),
    crossEntropyCase({ rows: 40, width: 7, vocabulary: 19, uncounted: 0.5 }),
    crossEntropyCase({ rows: 5, width: 2, vocabulary: 3, uncounted: 1 }),
    // More rows than fit into a block.
    crossEntropyCase({ rows: 130, width: 3, vocabulary: 5001, uncounted: 0.1 }),
    crossEntropyCase({ rows: 30, width: 1, vocabulary: 11, uncounted: 0.1, exact: 2 ** 13 }),
    crossEntropyCase({ rows: 30, width: 1, vocabulary: 11, uncounted: 0.1, exact: 2 ** 26 }),
  ],
  'rms-norm': [
    normCase({ rows: 1, width: 1 }),
    normCase({ rows: 0, width: 3 }),
    normCase({ rows: 15, width: 3, residual: true }),
    normCase({ rows: 300, width: 37 }),
    normCase({ rows: 17, width: 130, residual: true }),
    normCase({ rows: 20, width: 1027, size: 1e8, residual: true }),
    normCase({ rows: 20, width: 33, size: 1e18 }),
    normCase({ rows: 20, width: 33, size: 1e-8 }),
  ],
  placement: [...specialPlacements],
  'route-tokens': [...specialRouters],
  ...specialTokens,
}

const integer = (min: number, max: number) => fc.integer({ min, max })
/** Random shapes, for the same ops. */
export const drawn: Record<keyof typeof special, fc.Arbitrary<KernelCase>> = {
  matmul: fc
    .record({
      batch: fc.array(integer(1, 4), { maxLength: 2 }),
      m: fc.oneof(integer(1, 40), integer(60, 300)),
      k: integer(1, 90),
      n: fc.oneof(integer(1, 40), integer(60, 200)),
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
      alpha: fc.constantFrom(1, Math.SQRT1_2, -2),
      plus: fc.constantFrom('input' as const, 'onnx' as const, 'kernel' as const),
    })
    .map(matmulCase),
  'attention-kernel': fc
    .record({
      batch: integer(1, 3),
      sequence: integer(1, 150),
      keyHeads: integer(1, 3),
      shared: fc.constantFrom(1, 1, 2, 3),
      half: integer(1, 6),
      rotary: fc.boolean(),
      documents: fc.option(fc.array(integer(0, 149), { maxLength: 5 }), { nil: undefined }),
      window: fc.option(integer(1, 150), { nil: undefined }),
    })
    .map(({ shared, half, rotary, documents, window, ...shape }) => {
      const sizes = { heads: shared * shape.keyHeads, size: rotary ? 2 * half : half + 1 }
      return attentionCase({ ...shape, ...sizes, rotary, ...(documents && { documents }), ...(window && { window }) })
    }),
  'expert-ffn-kernel': fc
    .record({
      rows: fc.array(fc.oneof(fc.constant(0), integer(1, 60)), { minLength: 1, maxLength: 6 }),
      left: integer(0, 20),
      width: integer(1, 40),
      hidden: integer(1, 40),
      gated: fc.boolean(),
      accumulate: fc.boolean(),
    })
    .filter(({ rows }) => rows.some((count) => count > 0))
    .map(expertCase),
  'expert-linear-kernel': fc
    .record({
      rows: fc.array(fc.oneof(fc.constant(0), integer(1, 60)), { minLength: 1, maxLength: 6 }),
      left: integer(0, 20),
      width: integer(1, 40),
      hidden: integer(1, 60),
      accumulate: fc.boolean(),
    })
    .filter(({ rows }) => rows.some((count) => count > 0))
    .map(expertLinearCase),
  routing: fc
    .record({
      tokens: integer(1, 200),
      choices: integer(1, 4),
      width: integer(1, 40),
      // At least one slot, because the index of a dropped assignment is 0.
      empty: integer(1, 20),
      dropped: fc.constantFrom(0, 0.3),
      seed: integer(1, 1000),
      residual: fc.boolean(),
    })
    .map(routingCase),
  'linear-cross-entropy': fc
    .record({
      rows: integer(1, 90),
      width: integer(1, 20),
      vocabulary: integer(1, 90),
      uncounted: fc.constantFrom(0, 0.3),
    })
    .map(crossEntropyCase),
  'rms-norm': fc.record({ rows: integer(1, 200), width: integer(1, 90), residual: fc.boolean() }).map(normCase),
  placement: drawnPlacements,
  'route-tokens': drawnRouters,
  ...drawnTokens,
}

/** Cases with numbers of moderate size, because a relative error of a score of 1e4 is a large error of a softmax. */
export const moderate: Record<string, KernelCase[]> = {
  'attention-kernel': [
    attentionCase({ batch: 2, sequence: 150, heads: 2, size: 16, rotary: true, range: 1 }),
    attentionCase({ batch: 1, sequence: 33, heads: 3, size: 5, rotary: false, range: 1 }),
    attentionCase({ batch: 2, sequence: 150, heads: 6, keyHeads: 2, size: 16, rotary: true, range: 1 }),
    attentionCase({ batch: 1, sequence: 150, heads: 4, keyHeads: 2, size: 16, rotary: true, range: 1, window: 50 }),
    attentionCase({ batch: 2, sequence: 150, heads: 2, size: 16, rotary: true, range: 1, documents: [30, 110] }),
  ],
  'expert-ffn-kernel': [true, false].flatMap((gated) => [
    expertCase({ rows: [33, 0, 64], left: 3, width: 32, hidden: 48, gated }),
    expertCase({ rows: [600, 5], width: 7, hidden: 9, gated, accumulate: true }),
  ]),
  'expert-linear-kernel': [
    expertLinearCase({ rows: [33, 0, 64], left: 3, width: 32, hidden: 96 }),
    expertLinearCase({ rows: [600, 5], width: 7, hidden: 9, accumulate: true }),
  ],
  'linear-cross-entropy': [crossEntropyCase({ rows: 70, width: 16, vocabulary: 130, uncounted: 0.2 })],
  matmul: [matmulCase({ m: 65, k: 70, n: 33, transposeA: true, plus: 'onnx' })],
  'rms-norm': [normCase({ rows: 40, width: 33, residual: true })],
  routing: [routingCase({ tokens: 50, choices: 2, width: 9, empty: 5, dropped: 0.2, seed: 3, residual: true })],
}
