/**
 * A simulated rank on a GPU sends, receives and stores as much as the same rank on the processor.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { testDevice } from '../../../engine/webgpu/testing/run-kernel.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { calibrationOf } from '../testing/cases.ts'
import { simulate } from './simulation.ts'

const STEPS = 2

async function simulated(device: 'cpu' | 'webgpu', sets: readonly string[]) {
  const config = await loadConfig('tiny', ['runtime.threads=1', `runtime.device=${device}`, ...sets])
  const losses: number[] = []
  const simulation = await simulate(config, {
    ranks: 4,
    steps: STEPS,
    calibration: calibrationOf(),
    onEvent: (event) => event.kind === 'step' && losses.push(event.loss),
  })
  return { ...simulation, losses }
}

describe.skipIf(testDevice === null)('on a GPU', () => {
  // With so many experts the processor pads no rows either. In each of two layers a rank tells the other how many rows
  // each of its 32 experts gets, in integers of 8 bytes on the processor and of 4 on a GPU.
  test.each([
    ['experts on two ranks', ['parallel.expert=2', 'model.moe.experts=64'], 2 * 32 * 4],
    ['data parallel, Adafactor', ['train.optimizer.kind=adafactor'], 0],
  ])('%s: traffic, state and kept assignments are those of the processor', async (_, sets, integers) => {
    const [cpu, gpu] = [await simulated('cpu', sets), await simulated('webgpu', sets)]
    for (const direction of ['sentBytes', 'receivedBytes'] as const) {
      for (const channel of ['gradients', 'parameters'] as const) {
        const { measured, planned } = gpu.traffic[channel][direction]
        expect(measured).toBeGreaterThan(0)
        expect([measured, measured]).toEqual([planned, cpu.traffic[channel][direction].measured])
      }
      expect(gpu.traffic.experts[direction].measured).toBe(cpu.traffic.experts[direction].measured - integers)
    }
    expect(gpu.kept).toBe(cpu.kept)
    expect(gpu.losses).toHaveLength(STEPS)
    for (const [i, loss] of gpu.losses.entries()) expect(loss).toBeCloseTo(cpu.losses[i] ?? Number.NaN, 4)
    for (const kind of ['parameters', 'gradients', 'optimizer'] as const)
      expect(gpu.memory[kind]).toEqual(cpu.memory[kind])
    expect(gpu.provider).toContain('WebGPU')
    expect(gpu.seconds.layers.measured).toBeGreaterThan(0)
    // No calibration describes a GPU, and its activations are those of another program.
    expect(gpu.memory.activations?.planned).toBeNull()
    expect(Object.values(gpu.seconds).map(({ planned }) => planned)).toEqual([null, null, null, null])
    expect(gpu.resident).toBeNull()
  })
})
