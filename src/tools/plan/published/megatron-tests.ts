/** Measurements recorded in Megatron-LM's tests of speed and memory. */
import { gpt, type PublishedRow } from './row.ts'

const golden = 'Megatron-LM, tests/functional_tests/test_cases/gpt/gpt3_7b_*_memory_speed at d98e8a6'

/** Rows for a GPT of 7 B on 8 devices, as the tests record it: seconds of a step, and the peak of the allocator. */
function tested(
  device: 'a100' | 'h100' | 'gb200',
  [tensor, pipeline, micro]: readonly [number, number, number],
  { seconds, gigabytes }: { seconds: number; gigabytes?: number },
): PublishedRow[] {
  const name = `Megatron-LM tests, 7B, tensor ${tensor}, pipeline ${pipeline}, ${device.toUpperCase()} × 8`
  const common = {
    system: `Megatron-LM tests, ${device.toUpperCase()}`,
    source: golden,
    seen: 'read' as const,
    model: gpt(32, 4096, 32, 131_072, 8192, { keyValueHeads: 8, tied: false }),
    device,
    devices: 8,
    batch: 8,
    micro,
    plan: {
      precision: 'bfloat16',
      dropout: true,
      recompute: 'none',
      sequenceParallel: false,
      virtualStages: pipeline > 1 ? 8 : 1,
      zero: 1,
      parallel: { tensor, pipeline, data: 2 },
    },
    assumed: 'gradients in float32; the program runs in its deterministic mode',
  } as const
  return [
    { ...common, id: name, published: { kind: 'seconds', value: seconds } },
    ...(gigabytes === undefined
      ? []
      : [
          { ...common, id: `${name}, memory`, published: { kind: 'allocated bytes' as const, value: gigabytes * 1e9 } },
        ]),
  ]
}

export const testedRows: readonly PublishedRow[] = [
  ...tested('h100', [1, 4, 1], { seconds: 1.150_47 }),
  ...tested('a100', [1, 4, 1], { seconds: 2.942_36 }),
  ...tested('gb200', [1, 4, 1], { seconds: 0.787_21 }),
  ...tested('h100', [4, 1, 2], { seconds: 1.115_22, gigabytes: 57.1438 }),
  ...tested('a100', [4, 1, 2], { seconds: 2.586_85, gigabytes: 58.1881 }),
]
