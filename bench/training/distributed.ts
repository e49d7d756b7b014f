/**
 * Measures training over ranks in ratios: to the rate of the wire, to one process, to a prediction, to PyTorch.
 *
 *   npm run build && npx tsx bench/training/distributed.ts            all parts, in quick form
 *   npx tsx bench/training/distributed.ts --only links --turns 10     one part, for longer
 *
 * The parts are in distributed/. Links of a limited rate join network namespaces, which only root can create.
 */
import { Command, Option } from 'commander'
import { UsageError } from '../../src/core/errors.ts'
import { listOption, numberOption, ranges } from '../../src/faces/cli/options.ts'
import { type MpiLibrary, mpiLibraries } from '../../src/tools/launch/mpirun.ts'
import { runCommand, shapeOption } from '../support/command.ts'
import { measureCollectives } from './distributed/collectives.ts'
import { measureLinks } from './distributed/links.ts'
import { measureMemory } from './distributed/memory.ts'
import { comparePeer } from './distributed/peer.ts'
import { measureScaling } from './distributed/scaling.ts'
import type { Setting } from './distributed/training.ts'

interface Flags {
  readonly shape: string
  readonly only?: readonly string[]
  readonly mpi: MpiLibrary
  readonly rate: number
  readonly device: 'cpu' | 'webgpu'
  readonly warmUp: number
  readonly turns: number
  readonly steps: number
}

const parts: Readonly<Record<string, (setting: Setting, rate: number) => Promise<void>>> = {
  links: measureLinks,
  memory: measureMemory,
  scaling: measureScaling,
  collectives: measureCollectives,
  peer: comparePeer,
}

await runCommand(
  new Command('npx tsx bench/training/distributed.ts')
    .description('Measures training over ranks.')
    .addOption(shapeOption())
    .addOption(listOption('--only <part>', `measure only this part: ${Object.keys(parts).join(', ')}; repeatable`))
    .addOption(new Option('--mpi <library>', 'MPI library').choices(mpiLibraries).default('openmpi'))
    .addOption(numberOption('--rate <bits>', 'bits a second of a link', ranges.positive).default(1e9))
    .addOption(
      new Option('--device <name>', 'where ranks compute; webgpu is only for the part links')
        .choices(['cpu', 'webgpu'])
        .default('cpu'),
    )
    .addOption(numberOption('--warm-up <n>', 'steps that do not count', ranges.positiveInteger).default(4))
    .addOption(numberOption('--turns <n>', 'turns of each side', ranges.positiveInteger).default(4))
    .addOption(numberOption('--steps <n>', 'steps of a turn', ranges.positiveInteger).default(2))
    .action(run),
)

async function run({
  shape,
  only = Object.keys(parts),
  mpi,
  rate,
  device,
  warmUp,
  turns,
  steps,
}: Flags): Promise<void> {
  const unknown = only.find((part) => !(part in parts))
  if (unknown !== undefined)
    throw new UsageError(`invalid --only: "${unknown}" (expected one of ${Object.keys(parts).join(', ')})`)
  if (device === 'webgpu' && only.some((part) => part !== 'links'))
    throw new UsageError('invalid --device: "webgpu" (expected with --only links; other parts measure the processor)')
  const setting = { shape, device, pace: { warmUp, turns, steps }, place: { library: mpi } }
  for (const part of only) await parts[part]?.(setting, rate)
}
