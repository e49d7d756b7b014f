/**
 * Engine and speed limits of this machine, the first lines of `choir bench`. They are measured in child processes, so
 * that their memory does not count as memory of a training, and so that ONNX Runtime can be measured without oneDNN.
 */

import { wrap } from '../../../core/text/columns.ts'
import { bytes, fixed, flops } from '../../../core/text/numbers.ts'
import { usesDnnl } from '../../../engine/contract/engine.ts'
import type { Machine } from '../../../node/measure/machine.ts'
import { labelled } from '../display/display.ts'
import { engineLine } from '../display/summary.ts'
import type { Colors, Io } from '../io.ts'
import { parseJsonLines } from '../json.ts'
import { type EngineFlags, engineArgs } from '../options.ts'

export interface MeasuredMachine extends Machine {
  /** The float32 matmul rate without oneDNN; undefined if oneDNN is not in use, or on a GPU. */
  readonly alonePeakFlops?: number
}

export async function measureMachineInChild(io: Io, flags: EngineFlags): Promise<MeasuredMachine> {
  const ceilings = async (flags: EngineFlags, env?: Readonly<Record<string, string>>): Promise<Machine> => {
    const [line] = parseJsonLines(await io.runSelf(['bench', '--ceilings', ...engineArgs(flags), '--json'], env))
    const { kind: _, ...machine } = line as Machine & { kind: string }
    return machine
  }
  const machine = await ceilings(flags)
  if (!usesDnnl(machine)) return machine
  const alone = await ceilings({ ...flags, math: 'float32' }, { CHOIR_DNNL: 'off' })
  return { ...machine, alonePeakFlops: alone.peakFlops }
}

export function machineText(machine: MeasuredMachine, io: Io, colors: Colors): string {
  const { alonePeakFlops: alone, peakFlops, bandwidth, device, math } = machine
  const gain =
    alone === undefined
      ? ''
      : `, ${fixed(peakFlops / alone, 2)} × ONNX Runtime alone (${flops(alone)}/s${math === 'bf16' ? ' in float32' : ''})`
  const head = labelled(
    [
      ['engine', colors.bold(engineLine(machine))],
      ['matmul ceiling', `${flops(peakFlops)}/s${gain}`],
      ['memory ceiling', `${bytes(bandwidth)}/s`],
    ],
    colors,
  )
  if (device || usesDnnl(machine) || io.env.CHOIR_DNNL === 'off') return `\n${head}`
  const width = Math.min(io.stdout.columns || 80, 84) - 2
  const advice = wrap(installAdvice, width).map((line) => `  ${colors.dim(line)}\n`)
  return `\n${head}\n${advice.join('')}`
}

const installAdvice =
  'oneDNN, a library of faster kernels, is not in use. Debian and Ubuntu: "apt-get install libdnnl3.6" (or the ' +
  'version that "apt-cache search libdnnl" lists). Elsewhere: set CHOIR_DNNL=PATH of libdnnl 3.4 or later. ' +
  'How much faster it would be on this machine was not measured.'
