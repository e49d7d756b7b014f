/** `choir train --simulate-ranks` in this process, with a given calibration of the machine. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { simulate } from '../../../tools/plan/local/simulation.ts'
import { calibrationOf } from '../../../tools/plan/testing/cases.ts'
import { main } from '../program/main.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

let folder: string
const before = process.cwd()
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-simulate-'))
  process.chdir(folder)
})
afterAll(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true })
})

/** Commands that were run in processes of their own. */
const children: string[][] = []

async function choir(args: readonly string[], env: Record<string, string> = {}): Promise<Fake & { code: number }> {
  const fake = fakeIo({
    env,
    operations: {
      simulate: (config, options) => simulate(config, { ...options, calibration: calibrationOf() }),
      planLocal: async () => {
        throw new Error('the machine is not measured in tests')
      },
    },
  })
  const io = {
    ...fake.io,
    runSelf: async (command: readonly string[]) => {
      children.push([...command])
      return ''
    },
  }
  return { ...fake, code: await main(['train', ...args, '--threads', '1'], io) }
}

test('one rank of four is measured and compared with its plan, and nothing is written', async () => {
  const { code, stdout, stderr } = await choir(['tiny', '--simulate-ranks', '4', '--set', 'parallel.expert=2'])
  expect({ code, error: stderr.text }).toEqual({ code: 0, error: '' })
  expect(stdout.text.match(/^ {2}step \d /gm)).toHaveLength(3)
  expect(stdout.text).toContain('rank 0 of 4; experts of a layer on 2 ranks, 2 copies of each')
  expect(stdout.text).toMatch(/parameters +\d+ kB +\d+ kB +1\.00/)
  expect(stdout.text).toMatch(/experts sent +\d/)
  expect(readdirSync(folder)).toEqual([])
})

test('--json prints the steps and the comparison', async () => {
  const { code, stdout } = await choir(['tiny', '--simulate-ranks', '4', '--steps', '2', '--json'])
  expect(code).toBe(0)
  const lines = stdout.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.map(({ kind }) => kind)).toEqual(['step', 'step', 'simulation'])
  expect(lines[2]).toMatchObject({ layers: 2, layout: { ranks: 4, expert: 1, shards: 4 }, interrupted: false })
  const { gradients } = lines[2].traffic
  expect(gradients.sent_bytes.measured).toBe(gradients.sent_bytes.planned)
})

test('the machine is calibrated first, with progress on standard error unless JSON is wanted', async () => {
  children.length = 0
  await choir(['tiny', '--simulate-ranks', '4', '--steps', '1'])
  await choir(['tiny', '--simulate-ranks', '4', '--steps', '1', '--json'])
  expect(children.map((command) => command.includes('--json'))).toEqual([false, true])
  for (const command of children) expect(command.slice(0, 4)).toEqual(['plan', 'tiny', '--cluster', 'local'])
})

test.each<[string[], RegExp]>([
  [['--simulate-ranks', '0'], /invalid --simulate-ranks: "0" \(expected a positive integer\)/],
  [['--simulate-ranks', '1.5'], /invalid --simulate-ranks: "1\.5" \(expected a positive integer\)/],
  [
    ['--simulate-ranks', '2', '--set', 'parallel.expert=4'],
    /invalid parallel\.expert: 4 \(expected a divisor of the 2 ranks\)/,
  ],
  [['--simulate-ranks', '3'], /invalid train\.batch: 4 \(expected a multiple of the 3 ranks, .* such as 6/],
  [['--simulate-ranks', '4', '--out', 'there'], /invalid --simulate-ranks: not with --out/],
  [['--simulate-ranks', '4', '--gpu', '0'], /invalid --gpu: 0 \(expected only with --device webgpu\)/],
])('tiny with %j is refused', async (args, message) => {
  const { code, stdout, stderr } = await choir(['tiny', ...args])
  expect({ code, out: stdout.text }).toEqual({ code: 2, out: '' })
  expect(stderr.text).toMatch(message)
  expect(existsSync('there')).toBe(false)
})

test('a simulation is refused for a run to continue, and under mpirun', async () => {
  const resumed = await choir(['--resume', 'runs/tiny', '--simulate-ranks', '4'])
  expect(resumed.code).toBe(2)
  expect(resumed.stderr.text).toContain('invalid --simulate-ranks: not with --resume')
  const [rank, size] = ['0', '4']
  const started = await choir(['tiny', '--simulate-ranks', '4'], {
    OMPI_COMM_WORLD_RANK: rank,
    OMPI_COMM_WORLD_SIZE: size,
    OMPI_COMM_WORLD_LOCAL_RANK: rank,
    OMPI_COMM_WORLD_LOCAL_SIZE: size,
  })
  expect(started.code).toBe(2)
  expect(started.stderr.text).toContain('without mpirun')
})
