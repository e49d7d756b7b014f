/**
 * The end of a study. One process claims it, measures step times on a quiet machine, writes the report, and removes the
 * files that processes share.
 */
import type { Cell } from '../contract.ts'
import type { Grid } from '../grid/grid.ts'
import { Claim } from '../results/cell-files.ts'
import type { Ledger } from '../results/ledger.ts'
import { describeMachine } from '../results/record.ts'
import type { RunsContext } from './runs-context.ts'
import { timeArms } from './timings.ts'

export type Report = (state: { readonly grid: Grid; readonly ledger: Ledger }) => Promise<unknown>

/** Longest wait for other processes to end once nothing is left to do. */
const PATIENCE_MS = 30_000

/**
 * Ends the study. Returns the names of the processes that go on with it, or write its report in place of this process;
 * empty if this process wrote the report.
 * @param isComplete Whether all runs are done. If not, other processes may go on with the study, and the report is
 *   written only if there are none.
 */
export async function conclude(context: RunsContext, report: Report, isComplete: boolean): Promise<readonly string[]> {
  const { grid, ledger, processes, cells, signal } = context
  if (!isComplete) {
    const others = await processes.others()
    if (others.length > 0) return others.map((other) => processes.nameOf(other))
  }
  const claim = await cells.claim('report', (news) => {
    ledger.absorb(news)
    return true
  })
  if (!(claim instanceof Claim)) return claim ? [processes.nameOf(claim)] : []
  const finished = ({ key, config }: Cell) => ledger.find(key, config)?.status === 'finished'
  if (isComplete && grid.cells.some(finished)) await measureTimings(context, claim)
  await ledger.refresh()
  // The report names the hash of results.json.gz, which may lack results of other processes until now.
  await ledger.write()
  await report({ grid, ledger })
  if (await processes.untilAlone('all', PATIENCE_MS, signal)) await removeShared(context)
  return []
}

async function measureTimings(context: RunsContext, claim: Claim): Promise<void> {
  const { grid, ledger, processes, timingThreads, timeLeft, run, signal, onEvent } = context
  if (!(await processes.untilAlone('here', PATIENCE_MS, signal)) && !signal.aborted)
    onEvent({
      kind: 'note',
      message: 'another process of the study still runs on this machine: step times may be longer',
    })
  const timings = await timeArms(grid, ledger, timingThreads, timeLeft.timings(), run, signal, onEvent)
  if (!timings) return
  const result = { timings, machine: describeMachine() }
  await claim.keep(result)
  await ledger.put(result)
}

/**
 * Removes the files that processes shared, in an order that loses no result. First the files of dead processes are
 * removed, so that a process that was only suspended cannot replace results.json.gz by an older one. Then
 * results.json.gz is written with all results. Then, if no process has joined meanwhile, the files that it was written
 * from are removed.
 */
async function removeShared({ processes, cells, ledger }: RunsContext): Promise<void> {
  if (!(await processes.removeDead())) return
  await ledger.refresh()
  const names = cells.names
  await ledger.write()
  if ((await processes.others()).length === 0) await cells.remove(names)
}
