/** Wrong usage of `choir watch --share`: nothing is written, and the message says what is missing. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { shareRun } from '../../src/faces/watch/share/share.ts'
import { makeRun } from './dashboard-runs.ts'
import { Workspace } from './support.ts'

const even = [98, 102, 101, 99]
const snapshot = (layer: number) => ({ step: 1, layer, tokens_per_expert: even })

let workspace: Workspace
beforeAll(async () => {
  workspace = new Workspace()
  await makeRun(workspace, 'routed', { routing: [0, 1].map(snapshot) })
  await makeRun(workspace, 'dense', { sets: ['model.moe=null'] })
  await makeRun(workspace, 'without-routing', {})
  await makeRun(workspace, 'begun', { steps: 400 })
  // The second layer of the only snapshot is not written yet.
  await makeRun(workspace, 'half-a-snapshot', { steps: 400, routing: [snapshot(0)] })
  mkdirSync(workspace.file('nothing'))
  writeFileSync(workspace.file('taken.html'), 'a thesis')
  mkdirSync(workspace.file('folder.html'))
})
afterAll(() => workspace.remove())

test.each([
  ['a folder that does not exist', 'nowhere', /nowhere": there is no such folder/],
  ['a file', 'taken.html', /taken\.html": it is a file/],
  ['a folder without a run', 'nothing', /there is no run in .*nothing/],
  ['a folder of several runs', 'runs', /has 5 runs \(expected one of them: .*begun, .*, \.\.\.\)/],
  ['a dense run', 'runs/dense', /"dense": the model is dense/],
  ['a run without routing', 'runs/without-routing', /"without-routing": it has no loads of experts/],
  ['a run before its first snapshot', 'runs/begun', /"begun" yet: no snapshot .*train\.routingEvery is 5/],
  ['a run that writes its first snapshot', 'runs/half-a-snapshot', /"half-a-snapshot" yet: no snapshot/],
])('%s is refused with the reason', async (_, run, message) => {
  const out = workspace.file('out.html')
  const sharing = shareRun(workspace.file(run), { out })
  await expect(sharing).rejects.toThrow(UsageError)
  await expect(sharing).rejects.toThrow(message)
  expect(existsSync(out)).toBe(false)
})

test.each([
  ['a file that exists', 'taken.html', UsageError, /taken\.html" exists/],
  ['a folder', 'folder.html', UsageError, /folder\.html" is a folder/],
  ['a folder by its ending', 'new/', UsageError, /is a folder/],
  ['a place below a file', 'taken.html/out.html', RunError, /cannot write .*taken\.html/],
])('%s is not written to', async (_, out, kind, message) => {
  const sharing = shareRun(workspace.file('runs', 'routed'), { out: `${workspace.path}/${out}` })
  await expect(sharing).rejects.toThrow(kind)
  await expect(sharing).rejects.toThrow(message)
  expect(readFileSync(workspace.file('taken.html'), 'utf8')).toBe('a thesis')
})

test('a text that may not be read is named, and the data that does not exist', async () => {
  const sharing = shareRun(workspace.file('runs', 'routed'), {
    out: workspace.file('out.html'),
    data: [workspace.file('no-notes')],
  })
  await expect(sharing).rejects.toThrow(/invalid data: ".*no-notes" \(there is no such file or folder\)/)
})

test('a run that ends meanwhile is given up at once', async () => {
  const signal = AbortSignal.abort(new Error('interrupted'))
  await expect(shareRun(workspace.file('runs', 'routed'), { signal })).rejects.toThrow('interrupted')
})
