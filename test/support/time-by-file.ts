/** Prints, after the suite, how long its files took: the slowest ones, and every file above the limit. */
import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

/** Limit in seconds: a longer file keeps one of the two workers busy while the other has nothing left to do. */
const LIMIT = 60
const SLOWEST = 25

export default class TimeByFile implements Reporter {
  private began = 0

  onTestRunStart(): void {
    this.began = performance.now()
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (modules.length <= SLOWEST) return
    console.log(report(modules.map(timeOf), (performance.now() - this.began) / 1000))
  }
}

interface FileTime {
  readonly file: string
  /** Seconds of tests and hooks. */
  readonly tests: number
  /** Seconds before the first test, in which the process starts and imports the tested code. */
  readonly start: number
}

function timeOf(module: TestModule): FileTime {
  const { duration, setupDuration, collectDuration, prepareDuration, environmentSetupDuration } = module.diagnostic()
  const start = setupDuration + collectDuration + prepareDuration + environmentSetupDuration
  return { file: relative('.', module.moduleId), tests: duration / 1000, start: start / 1000 }
}

/** @param elapsed Duration of the whole run in seconds */
export function report(times: readonly FileTime[], elapsed: number): string {
  const sum = (of: (time: FileTime) => number) => times.reduce((total, time) => total + of(time), 0).toFixed(0)
  const slowest = times.toSorted((a, b) => b.tests + b.start - (a.tests + a.start))
  const rows = slowest.filter((time, i) => i < SLOWEST || time.tests + time.start > LIMIT)
  return [
    `\n Time by file: ${times.length} files in ${elapsed.toFixed(0)} s; ` +
      `${sum(({ tests }) => tests)} s of tests, ${sum(({ start }) => start)} s before their first test`,
    ...rows.map(({ file, tests, start }) => {
      const seconds = tests + start
      return `${seconds.toFixed(1).padStart(8)} s  ${file}${seconds > LIMIT ? `  (over ${LIMIT} s: split it)` : ''}`
    }),
    '',
  ].join('\n')
}
