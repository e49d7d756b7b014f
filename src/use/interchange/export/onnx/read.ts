/** Runs an exported ONNX model in ONNX Runtime, in steps with its cache as a program that generates text would. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { headWidthOf, type ModelConfig } from '../../../../core/model/config.ts'
import { cacheNames } from './attention.ts'

/**
 * Logits [T, V] of one sequence.
 * @param steps Number of tokens of each run; together they are T.
 */
export async function onnxLogits(
  path: string,
  config: ModelConfig,
  tokens: Int32Array,
  steps: readonly number[],
): Promise<Float32Array> {
  const session = await InferenceSession.create(path, { executionProviders: ['cpu'] })
  try {
    const ports = Array.from({ length: config.layers }, (_, layer) => [
      cacheNames(layer, 'key'),
      cacheNames(layer, 'value'),
    ]).flat()
    const empty = [1, config.keyValueHeads ?? config.heads, 0, headWidthOf(config)]
    let cache: Tensor[] = ports.map(() => new Tensor('float32', new Float32Array(), empty))
    const logits = new Float32Array(tokens.length * config.vocabulary)
    let done = 0
    for (const step of steps) {
      const int64 = (length: number, value: (i: number) => number) =>
        new Tensor(
          'int64',
          BigInt64Array.from({ length }, (_, i) => BigInt(value(i))),
          [1, length],
        )
      const results = await session.run({
        input_ids: int64(step, (i) => tokens[done + i] as number),
        position_ids: int64(step, (i) => done + i),
        attention_mask: int64(done + step, () => 1),
        ...Object.fromEntries(ports.map(({ past }, i) => [past, cache[i] as Tensor])),
      })
      logits.set((results.logits as Tensor).data as Float32Array, done * config.vocabulary)
      cache = ports.map(({ present }) => results[present] as Tensor)
      done += step
    }
    return logits
  } finally {
    await session.release()
  }
}
