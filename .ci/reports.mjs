/**
 * What the JSON reports of Vitest say, for `run`:
 *
 *     node reports.mjs failed-files REPORT       the files with failures, a line each
 *     node reports.mjs count FOLDER CANNOT...    what failed, in words, and the counts of main.json and slow.json
 *
 * REPORT.again is the report of the files of REPORT that failed and ran again. CANNOT are starts of `file name` of the
 * tests that this machine cannot run. Exit code 1: a test failed, or was skipped without such a reason.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const filesOf = (report) => JSON.parse(readFileSync(report, 'utf8')).testResults
const pathOf = ({ name }) => relative('.', name)
const hasFailed = ({ status }) => status === 'failed'
/** A file that cannot be loaded has failed, and has no test that did. */
const isBroken = (file) => hasFailed(file) && !file.assertionResults.some(hasFailed)

/** What failed in files, as text. */
function* failuresOf(files) {
  for (const file of files) {
    if (isBroken(file)) yield `${pathOf(file)} cannot be loaded\n${file.message.slice(0, 2_000)}`
    for (const { fullName, failureMessages } of file.assertionResults.filter(hasFailed))
      yield `${pathOf(file)} ${fullName}\n${failureMessages.join('\n').slice(0, 2_000)}`
  }
}

/** Files of a report, those that ran again as they then ended. */
function finalFiles(report) {
  const again = new Map((existsSync(`${report}.again`) ? filesOf(`${report}.again`) : []).map((file) => [file.name, file]))
  return filesOf(report).map((file) => again.get(file.name) ?? file)
}

function count(folder, cannot) {
  let bad = false
  const say = (line) => {
    bad = true
    console.log(`ci: ${line}`)
  }
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.json.again'))) {
    const report = join(folder, name.replace(/\.again$/, ''))
    const ended = new Map(finalFiles(report).map((file) => [file.name, file]))
    const passedAgain = filesOf(report).filter((file) => hasFailed(file) && !hasFailed(ended.get(file.name)))
    for (const failure of failuresOf(passedAgain))
      console.log(`ci: failed, and passed when its file ran again, alone: ${failure}`)
  }
  const files = ['main.json', 'slow.json'].flatMap((name) => {
    try {
      return finalFiles(join(folder, name))
    } catch (error) {
      say(`no test report: ${error.message}`)
      return []
    }
  })
  const tests = files.flatMap((file) =>
    file.assertionResults.map(({ fullName, status }) => ({ status, name: `${pathOf(file)} ${fullName}` })),
  )
  const passed = tests.filter(({ status }) => status === 'passed').length
  const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed')
  for (const { name } of skipped)
    if (!cannot.some((start) => name.toLowerCase().startsWith(start.toLowerCase())))
      say(`skipped, though this machine should run it: ${name}`)
  // Said again here: the end of a long log is what is kept, and looked at.
  const failures = [...failuresOf(files)]
  for (const failure of failures) say(`failed: ${failure}`)
  console.log(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped`)
  if (bad || passed === 0) process.exitCode = 1
}

const [task, of, ...cannot] = process.argv.slice(2)
if (task === 'count') count(of, cannot)
else if (task === 'failed-files') for (const file of filesOf(of).filter(hasFailed)) console.log(pathOf(file))
else throw new Error(`No such task: ${task}`)
