/**
 * Training with the routes of a record, as a user does it.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { outcome } from './rank-runs.ts'
import { expectSuccess, type Line, prose, readJsonLines, results, Workspace, withoutLastCheckpoint } from './support.ts'

let workspace: Workspace
let source: string
const corpus = () => workspace.file('corpus.txt')

beforeAll(async () => {
  workspace = new Workspace(prose(1, 24_000))
  source = workspace.file('source')
  const config = workspace.config({ train: { steps: 4, batch: 4, evalBatches: 1 } })
  await expectSuccess(workspace.start('train', config, '--out', source))
  await expectSuccess(record('routes', '--data', corpus(), '--weights', 'int4'))
  // All tokens of the text, sent to expert 0 in every layer.
  await expectSuccess(workspace.start('routing', workspace.file('routes'), '--export', workspace.file('own.jsonl')))
  const lines = readJsonLines(workspace.file('own.jsonl')) as (Line & { readonly token_ids: number[] })[]
  writeAnswers('zeros.jsonl', lines)
}, 300_000)
afterAll(() => workspace.remove())

const record = (name: string, ...args: string[]) =>
  workspace.start('routing', source, ...args, '--out', workspace.file(name))

const from = (out: string, replay: string | null, ...args: string[]) =>
  workspace.start(
    ...['train', '--from', source, '--data', corpus(), '--out', workspace.file(out), '--steps', '6', '--json'],
    ...(replay === null ? [] : ['--set', `data.replay=${workspace.file(replay)}`]),
    ...args,
  )

/** Two layers, one choice each: the preset `tiny`. */
function writeAnswers(name: string, lines: readonly (Line & { readonly token_ids: readonly number[] })[]): void {
  const answers = lines.map(({ document, position, token_ids }) =>
    JSON.stringify({ document, position, token_ids, routed_experts: token_ids.map(() => [[0], [0]]) }),
  )
  writeFileSync(workspace.file(name), `${answers.join('\n')}\n`)
}

test('a run trains with recorded routes, and resumes bit for bit, but not with other routes', async () => {
  const { stdout } = await expectSuccess(from('tuned', 'routes', '--set', 'train.checkpointEvery=3'))
  const [, found, all] = /are replayed for [\d.]+ % of the training tokens \(([\d,]+) of ([\d,]+)\)/.exec(stdout) ?? []
  const number = (text = '') => Number(text.replaceAll(',', ''))
  expect(number(all)).toBeGreaterThan(15_000)
  // The token before the first document has no routes, and the end of the last document may have none.
  expect(number(all) - number(found)).toBeOneOf([1, 2])

  const run = workspace.file('tuned')
  const cut = withoutLastCheckpoint(run)
  const other = await workspace.choir('train', '--resume', cut, '--set', `data.replay=${workspace.file('zeros.jsonl')}`)
  expect(other.code).toBe(2)
  expect(other.stderr).toContain('was trained with other routes (resume with the record of the run')
  const without = await workspace.choir('train', '--resume', cut, '--set', 'data.replay=null')
  expect(without.code).toBe(2)
  await expectSuccess(workspace.start('train', '--resume', cut))
  expect(results(cut)).toEqual(results(run))

  const plain = await workspace.choir('train', '--resume', source, '--set', `data.replay=${workspace.file('routes')}`)
  expect(plain.code).toBe(2)
  expect(plain.stderr).toContain('was trained without a record')
})

test.skipIf(!launchers.has('Open MPI'))(
  `two ranks that share experts replay the routes with the bits of one process${launchers.has('Open MPI') ? '' : ' (skipped: no Open MPI)'}`,
  async () => {
    const args = (out: string, expert: number) => [
      ...['train', '--from', source, '--data', corpus(), '--out', workspace.file(out), '--steps', '4', '--json'],
      ...['--set', `data.replay=${workspace.file('routes')}`, '--set', 'parallel.shards=2'],
      ...['--set', `parallel.expert=${expert}`],
    ]
    await expectSuccess(workspace.start(...args('alone', 1)))
    await expectSuccess(workspace.startRanks('Open MPI', 2, ...args('ranks', 2)))
    expect(outcome(workspace.file('ranks'))).toEqual(outcome(workspace.file('alone')))
  },
)

test('every token goes to its recorded expert', async () => {
  await expectSuccess(from('zeros', 'zeros.jsonl', '--set', 'model.moe.capacity=none'))
  const loads = readJsonLines(join(workspace.file('zeros'), 'routing.jsonl'))
  expect(loads.length).toBeGreaterThan(0)
  for (const record of loads) {
    const tokens = record.tokens_per_expert as number[]
    const rest = tokens.slice(1).reduce((sum, count) => sum + count, 0)
    // Of a step at most the token before the first document and the end of the last one are left to the routers.
    expect(rest).toBeLessThanOrEqual(2)
    expect(tokens[0]).toBeGreaterThan(100)
  }
})

test.each([
  ['a record of the held-out text', 'held', [], /invalid data\.replay: .* is a record of another text/],
  ['a record of other routers', 'routes', ['--set', 'model.moe.k=2'], /is a record of other routers/],
  [
    'answers with other tokens',
    'shifted.jsonl',
    [],
    /invalid data\.replay: .* has token \d+ at position \d+ of document/,
  ],
  ['answers about other documents', 'far.jsonl', [], /has none of the tokens that are computed/],
  ['a folder without a record', 'nothing', [], /has no routes\.json/],
  [
    'a router without scores',
    'routes',
    ['--set', 'model.moe.router=expert-choice'],
    /data\.replay: .*must be null with the router/,
  ],
] as const)('%s is refused', async (_, replay, args, message) => {
  const lines = readJsonLines(workspace.file('own.jsonl')) as (Line & { readonly token_ids: number[] })[]
  if (replay === 'held') await expectSuccess(record('held'))
  if (replay === 'shifted.jsonl')
    writeAnswers(
      replay,
      lines.map((line) => ({ ...line, token_ids: line.token_ids.map((id) => (id + 1) % 257) })),
    )
  if (replay === 'far.jsonl')
    writeAnswers(
      replay,
      lines.slice(0, 1).map((line) => ({ ...line, document: 100_000 })),
    )
  const { code, stderr } = await from(`refused-${replay}`, replay, ...args).ended
  expect(stderr).toMatch(message)
  expect(code).toBe(2)
})
