/** `choir devices`: lists the GPUs that can train models. */
import type { Command } from 'commander'
import { bytes } from '../../../core/text/numbers.ts'
import type { DeviceDescription } from '../../../engine/dawn/node-device.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption } from '../options.ts'

export function addDevices(program: Command, io: Io): void {
  program
    .command('devices')
    .summary('list the GPUs that can train')
    .description(
      'Lists the GPUs that WebGPU finds, with the limits that decide which models fit. --device webgpu uses the ' +
        'first; choir train --gpu, or CHOIR_GPU, another one.',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir devices
  choir train demo --device webgpu
  CHOIR_GPU=1 choir eval runs/demo --device webgpu
  choir bench --shape tiny --device webgpu

The largest tensor is the most that a kernel can read: an embedding, or the matrices of all experts
of a layer, must fit. Software devices compute on the processor and are slow; use --device cpu.`,
    )
    .action((flags: { readonly json?: true }) => run(io, flags))
}

async function run(io: Io, { json }: { readonly json?: true }): Promise<void> {
  const { gpus, problem } = await io.operations.listDevices()
  if (json) return writeJson(io, { kind: 'devices', gpus, problem })
  const colors = colorsFor(io.stdout, io.env)
  for (const [number, gpu] of gpus.entries())
    print(io, `\n  ${number}  ${colors.bold(gpu.name)}\n${labelled(rowsOf(gpu), colors)}`)
  if (problem !== null) print(io, `\n  ${problem}\n`)
  io.stdout.write('\n')
}

function rowsOf(gpu: DeviceDescription): [string, string][] {
  const features = [
    ...(gpu.f16 ? ['float16'] : []),
    ...(gpu.subgroups ? ['subgroups'] : []),
    ...(gpu.timestamps ? ['timestamps'] : []),
  ]
  return [
    ['kind', gpu.software ? 'software, on the processor' : `GPU${gpu.vendor && ` by ${gpu.vendor}`}`],
    ['driver', gpu.description || 'not named'],
    ['largest buffer', bytes(gpu.maxBufferBytes)],
    ['largest tensor', bytes(gpu.maxBindingBytes)],
    ['features', features.join(', ') || 'none beyond the base'],
  ]
}
