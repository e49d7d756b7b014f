/** A process with several claimers of the same cells, for a test of races. It prints the keys of its claimed cells. */
import { Claim, SharedCells } from '../results/cell-files.ts'
import { factsOf, Processes } from '../results/processes.ts'
import { FakeStudy } from './fake-study.ts'

const [folder = '', claimers = '1', ...keys] = process.argv.slice(2)
const facts = factsOf(FakeStudy.at(folder).specification({ arms: { a: {} } }))
const got: string[] = []
await Promise.all(
  Array.from({ length: Number(claimers) }, async () => {
    const cells = new SharedCells(folder, await Processes.join(folder, facts, true))
    for (const key of keys) if ((await cells.claim(key, () => true)) instanceof Claim) got.push(key)
  }),
)
process.stdout.write(JSON.stringify(got))
// Stays alive, so that its claims hold, until the test ends it.
process.stdin.resume()
