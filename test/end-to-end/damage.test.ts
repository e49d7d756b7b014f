/** @slow */
import { createHash } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, expectSuccess, type Line, results, Workspace } from './support.ts'

const folderOf = (step: number): string => `step-${String(step).padStart(8, '0')}`

let workspace: Workspace
let intact: string
beforeAll(async () => {
  workspace = new Workspace()
  intact = workspace.file('whole')
  const config = workspace.config({ train: { checkpointEvery: 2, keep: 7 } })
  await expectSuccess(workspace.start('train', config, '--out', intact, '--json'))
  expect(checkpointsOf(intact)).toEqual([8, 10, 12, 14, 16, 18, 20].map((step) => folderOf(step)))
})
afterAll(() => workspace.remove())

function flipBit(path: string, at: number): void {
  const file = openSync(path, 'r+')
  const byte = new Uint8Array(1)
  readSync(file, byte, 0, 1, at)
  byte[0] = (byte[0] as number) ^ 16
  writeSync(file, byte, 0, 1, at)
}

/** Kinds of damage to the folder of a checkpoint, and the reason that must be reported. */
const damages: readonly [damage: (folder: string) => void, reason: string][] = [
  [
    (folder) => truncateSync(join(folder, 'model.safetensors'), 1000),
    'model\\.safetensors has 1000 bytes instead of \\d+',
  ],
  // A bit of a parameter, of the state of the optimizer, and of the state of the training.
  [
    (folder) => flipBit(join(folder, 'model.safetensors'), statSync(join(folder, 'model.safetensors')).size - 77),
    'model\\.safetensors does not match its checksum',
  ],
  [
    (folder) => flipBit(join(folder, 'optimizer.safetensors'), 30_000),
    'optimizer\\.safetensors does not match its checksum',
  ],
  [(folder) => flipBit(join(folder, 'state.json'), 10), 'state\\.json does not match its checksum'],
  [(folder) => rmSync(join(folder, 'optimizer.safetensors')), 'optimizer\\.safetensors is missing'],
  // A folder that is half written.
  [
    (folder) => {
      rmSync(join(folder, 'SHA256SUMS'))
      truncateSync(join(folder, 'optimizer.safetensors'), 4096)
      renameSync(folder, join(folder, '..', `.${basename(folder)}.writing`))
    },
    'it is incomplete',
  ],
]

test('damaged checkpoints of six kinds are skipped with a warning each, and the one before them continues bitwise', async () => {
  const run = workspace.file('damaged')
  cpSync(intact, run, { recursive: true })
  const folders = checkpointsOf(run).reverse()
  for (const [i, [damage]] of damages.entries()) damage(join(run, 'checkpoints', folders[i] as string))
  const { stdout } = await expectSuccess(workspace.start('train', '--resume', run, '--json'))
  const lines: Line[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const warnings = lines.filter(({ kind }) => kind === 'warning').map(({ message }) => message)
  expect(warnings).toEqual(
    damages.map(([, reason], i) => expect.stringMatching(new RegExp(`${folders[i]}(?:\\.writing)?: ${reason}`))),
  )
  expect(lines.find(({ kind }) => kind === 'start')?.from_step).toBe(8)
  expect(results(run)).toEqual(results(intact))
  expect(readdirSync(join(run, 'checkpoints')).filter((entry) => entry.startsWith('.'))).toEqual([])

  for (const folder of checkpointsOf(run)) flipBit(join(run, 'checkpoints', folder, 'model.safetensors'), 20_000)
  const none = await workspace.choir('train', '--resume', run)
  expect(none.code).toBe(1)
  expect(none.stderr).toMatch(/no checkpoint of .* is intact/)
  expect(readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n').length).toBeGreaterThan(20)
})

/** Changes a file of the newest checkpoint and corrects its checksum, as a program that writes checkpoints would. */
function forge(run: string, name: string, change: (contents: Buffer) => Buffer): void {
  const newest = join(run, 'checkpoints', 'step-00000020')
  const changed = change(readFileSync(join(newest, name)))
  writeFileSync(join(newest, name), changed)
  const sum = createHash('sha256').update(changed).digest('hex')
  const sums = join(newest, 'SHA256SUMS')
  const line = new RegExp(`^[0-9a-f]{64}(  ${name})$`, 'm')
  writeFileSync(sums, readFileSync(sums, 'utf8').replace(line, `${sum}$1`))
}

const forgeState = (run: string, change: (stored: Record<string, unknown>) => void): void =>
  forge(run, 'state.json', (contents) => {
    const stored = JSON.parse(contents.toString())
    change(stored)
    return Buffer.from(JSON.stringify(stored))
  })

/** Changes that no checksum detects, and the message that every command gives. */
const forgeries: Record<string, [change: (run: string) => void, message: RegExp]> = {
  'no state': [
    (run) => forgeState(run, (stored) => Object.assign(stored, { state: null })),
    /step-00000020 is damaged: its state\.json has no valid state /,
  ],
  'a state of another shape': [
    (run) =>
      forgeState(run, (stored) => Object.assign(stored, { state: { data: 'x', updates: '3', nonFiniteInRow: 0 } })),
    /step-00000020 is damaged: its state\.json has no valid state\.updates /,
  ],
  'weights that are not finite': [
    (run) => {
      forge(run, 'model.safetensors', (contents) => {
        const data = 8 + Number(contents.readBigUInt64LE())
        return Buffer.concat([contents.subarray(0, data), Buffer.alloc(contents.length - data, 0xff)])
      })
      forgeState(run, (stored) => delete stored.census)
    },
    /model\.safetensors: \S+ holds numbers that are not finite/,
  ],
  'a tokenizer that was changed': [
    (run) => {
      const path = join(run, 'tokenizer.json')
      writeFileSync(path, readFileSync(path, 'utf8').replace('"!":33', '"!":34').replace('"\\"":34', '"\\"":33'))
    },
    /tokenizer\.json of .* was changed after its checkpoint was written/,
  ],
  'settings that were edited': [
    (run) => {
      const path = join(run, 'config.json')
      const stored = JSON.parse(readFileSync(path, 'utf8'))
      stored.model.moe.k = 2
      stored.train.optimizer.beta2 = 0.9
      writeFileSync(path, JSON.stringify(stored))
    },
    /config\.json of .* was edited after .*\n {2}model\.moe\.k: 1 in the checkpoint, 2 now\n {2}train\.optimizer\.beta2: 0\.95 in /,
  ],
  'the configuration of a newer version': [
    (run) => {
      const path = join(run, 'config.json')
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), version: '7.0.0' }))
    },
    /config\.json: it was written by Choir 7\.0\.0, and this is .* \(update Choir\)/,
  ],
}

test.each(Object.entries(forgeries))(
  '%s with right checksums is refused by every command',
  async (name, [change, message]) => {
    const run = workspace.file(name)
    cpSync(intact, run, { recursive: true })
    change(run)
    const commands = [
      ['eval', run],
      ['generate', run, '--prompt', 'the', '--tokens', '3'],
      ['train', '--resume', run, '--set', 'train.steps=21'],
      ['train', '--from', run, '--out', `${run} continued`],
    ]
    const all = await Promise.all(commands.map(async (args) => ({ args, ...(await workspace.choir(...args)) })))
    for (const { args, code, stderr } of all) {
      expect({ args, code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(message) })
      expect(stderr).not.toMatch(/ {4}at |Cannot read properties|undefined/)
    }
  },
  60_000,
)

test('a checkpoint without settings, as earlier versions wrote it, is continued', async () => {
  const run = workspace.file('without settings')
  cpSync(intact, run, { recursive: true })
  forgeState(run, ({ state }) => delete (state as Record<string, unknown>).settings)
  await expectSuccess(workspace.start('train', '--resume', run, '--set', 'train.steps=21'))
})

test('a run without tokenizer.json gets it back only from the right text: another text is refused', async () => {
  const run = workspace.file('without tokenizer')
  cpSync(intact, run, { recursive: true })
  rmSync(join(run, 'tokenizer.json'))
  const other = workspace.file('other.txt')
  writeFileSync(other, 'Another text, long enough for a batch.\n'.repeat(2000))
  const refused = await workspace.choir('train', '--resume', run, '--set', 'train.steps=21', '--data', other)
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('the text has changed') })
  expect(readdirSync(run)).not.toContain('tokenizer.json')
  await expectSuccess(workspace.start('train', '--resume', run, '--set', 'train.steps=21'))
  expect(readFileSync(join(run, 'tokenizer.json'))).toEqual(readFileSync(join(intact, 'tokenizer.json')))
})

test('a run whose checkpoints are gone is not begun again, and keeps its logs', async () => {
  for (const remove of [
    (folder: string) => rmSync(folder, { recursive: true }),
    (folder: string) => {
      rmSync(folder, { recursive: true })
      mkdirSync(folder)
    },
  ]) {
    const run = workspace.file('unmounted')
    rmSync(run, { recursive: true, force: true })
    cpSync(intact, run, { recursive: true })
    remove(join(run, 'checkpoints'))
    const before = readFileSync(join(run, 'metrics.jsonl'))
    const { code, stderr } = await workspace.choir('train', '--resume', run, '--set', 'train.steps=25')
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/was trained to step 20, but its checkpoints are gone: is a disk not mounted/),
    })
    expect(readFileSync(join(run, 'metrics.jsonl'))).toEqual(before)
  }
  // The message names a command that works.
  const again = workspace.file('again')
  await expectSuccess(workspace.start('train', join(workspace.file('unmounted'), 'config.json'), '--out', again))
  expect(results(again).metrics).toEqual(results(intact).metrics)
})

test('an evaluation uses the checkpoint before a damaged one, with a warning', async () => {
  const run = workspace.file('evaluated')
  cpSync(intact, run, { recursive: true })
  truncateSync(join(run, 'checkpoints', 'step-00000020', 'model.safetensors'), 0)
  const { stdout, stderr } = await expectSuccess(workspace.start('eval', run, '--json'))
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'eval', step: 18 })
  expect(stderr).toMatch(/skipping checkpoint .*step-00000020: model\.safetensors has 0 bytes/)
})
