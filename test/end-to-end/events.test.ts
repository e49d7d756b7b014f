/**
 * Checks that docs/events.md describes the lines that a real training and the commands after it print with --json.
 *
 * @slow
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { expectSuccess, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

async function kindsOf(...args: string[]): Promise<string[]> {
  const { stdout } = await expectSuccess(workspace.start(...args, '--json'))
  const lines: Record<string, unknown>[] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines[0]).toMatchObject({ version: 1 })
  for (const line of lines)
    expect(undocumented(args[0] as string, line), JSON.stringify(line).slice(0, 300)).toEqual([])
  return [...new Set(lines.map(({ kind }) => kind as string))]
}

test('a training, a training from its weights, an evaluation and a generation print documented lines', async () => {
  const config = workspace.config({ train: { steps: 6 } })
  const run = workspace.file('run')
  expect(await kindsOf('train', config, '--out', run, '--profile', '--sample')).toEqual(
    expect.arrayContaining(['start', 'train', 'eval', 'checkpoint', 'summary', 'profile', 'sample']),
  )
  const frozen = ['--freeze', 'embedding', '--set', 'train.steps=2']
  expect(await kindsOf('train', '--from', run, ...frozen, '--out', workspace.file('next'))).toContain('notice')
  expect(await kindsOf('eval', run)).toEqual(['eval'])
  expect(await kindsOf('generate', run, '--prompt', 'The', '--tokens', '3')).toEqual(
    expect.arrayContaining(['piece', 'summary']),
  )
}, 60_000)
