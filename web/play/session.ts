/** The state of the page: text, settings of both sides, and their trainings. */
import { computed, effect, signal } from '@preact/signals'
import { browserStore } from '../../src/faces/library/web.ts'
import { router, toNewest } from '../src/experts/view.ts'
import { flag, inAddress } from '../src/shared/view-state.ts'
import { commonStepOf, keepInStep } from './in-step.ts'
import { type Lesson, settingOf } from './lessons.ts'
import { LiveRun, type SideName, storeOf } from './live-run.ts'
import { inAddressOfPlay, queryOf } from './settings/address.ts'
import { configOf, describe, type Setting, type Shared } from './settings/settings.ts'
import { ownText, preparedText, speeches } from './training-text.ts'

const sideNames = ['A', 'B'] as const

/** State that the page remembers between visits. The runs themselves are stored by {@link browserStore}. */
interface Remembered {
  readonly shared: Shared
  readonly settings: Readonly<Record<SideName, Setting>>
  readonly comparing: boolean
}

const KEY = 'choir.play'

function remembered(): Partial<Remembered> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Remembered>
  } catch {
    return {}
  }
}

const { a, b, both } = inAddressOfPlay
export const shared = inAddress('both', both, both.fallback)
export const settings = { A: inAddress('a', a, a.fallback), B: inAddress('b', b, b.fallback) }
export const comparing = inAddress('compare', flag, true)
// The address of a link has the settings of its experiment. Without any, the page has those of the last visit.
if (location.search === '') {
  const before = remembered()
  shared.value = { ...shared.value, ...before.shared }
  settings.A.value = { ...settings.A.value, ...before.settings?.A }
  settings.B.value = { ...settings.B.value, ...before.settings?.B }
  comparing.value = before.comparing ?? true
}
effect(() => {
  const state: Remembered = {
    shared: shared.value,
    settings: { A: settings.A.value, B: settings.B.value },
    comparing: comparing.value,
  }
  try {
    localStorage.setItem(KEY, JSON.stringify(state))
  } catch {
    // If the browser stores nothing, the next visit begins with the defaults.
  }
})

/** The reason why the last action failed, or null. */
export const problem = signal<string | null>(null)
/** Reason why this browser cannot train, or null. */
export const missing = signal<string | null>(null)
/** The lesson whose settings are trained, or null. */
export const lesson = signal<Lesson | null>(null)

/** A question before an action that replaces trainings. */
interface Question {
  readonly title: string
  readonly text: string
  /** Text of the button that acts. */
  readonly yes: string
  readonly act: () => void
}

export const question = signal<Question | null>(null)
/** Whether this browser has a stored run that no side has open. */
export const hasStored = signal(false)

export const runs = { A: new LiveRun('A'), B: new LiveRun('B') }
/** Sides that have something to show. */
export const openSides = computed(() => sideNames.filter((side) => runs[side].phase.value !== 'empty'))
const phases = computed(() => sideNames.map((side) => runs[side].phase.value))
export const isBusy = computed(() => phases.value.some((phase) => phase === 'running' || phase === 'preparing'))
export const canContinue = computed(() => !isBusy.value && phases.value.includes('paused'))

keepInStep(sideNames.map((side) => runs[side]))

/** The step that all open sides have reached: their numbers and maps are compared there. */
export const commonStep = computed(() => commonStepOf(openSides.value.map((side) => runs[side])))

/**
 * The name of a side's run. It describes the settings that the run was started with, which the controls may no longer
 * show; before a run is open, it describes the controls.
 */
export function nameOf(side: SideName): string {
  const moe = runs[side].opened.value?.config.model.moe
  if (moe === undefined) return `${side}: ${describe(settings[side].value)}`
  if (moe === null) return `${side}: dense`
  const { router, k, prototypes, capacity, factor, balance } = moe
  // No page loads a router of the user's own.
  const known = router === 'switch' || router === 'own' ? 'top-k' : router
  return `${side}: ${describe({ router: known, k, prototypes, capacity, factor, balance: balance.coefficient })}`
}

/** Number of trainings that were started from this page, which then shows them. */
export const started = signal(0)

/** A recorded training was shown at some step of its own, in a layer of its own. */
function leaveReplay(): void {
  if (openSides.value.length > 0) return
  toNewest()
  router.value = 0
}

/** Acts, or first asks if trainings are under way that would be replaced. */
function replacing(yes: string, act: () => void): void {
  const done = openSides.value
    .filter((side) => ['preparing', 'running', 'paused'].includes(runs[side].phase.value))
    .map((side) => runs[side].done.value)
  const most = Math.max(0, ...done)
  const title = done.length > 1 ? 'Two trainings are under way' : 'A training is under way'
  const text = `Step ${most} is done, and there are more to come. What is trained is lost unless you save it first.`
  if (most === 0) act()
  else question.value = { title, text, yes, act }
}

/** Starts trainings with the current settings, in place of the open trainings. */
export const begin = (): void =>
  replacing('Start over', () => {
    const { value: tried } = lesson
    // The note of a lesson is about its settings.
    if (tried && (!comparing.value || queryOf(settings.A.value, settings.B.value) !== queryOfLesson(tried)))
      lesson.value = null
    void train()
  })

const queryOfLesson = ({ a, b }: Lesson): string => queryOf(settingOf(a), settingOf(b))

const train = () =>
  attempt(async () => {
    expectGpu()
    if (ownText.value?.content.trim() === '') throw new Error('Your text is empty: paste some pages, or choose a file.')
    hasStored.value = false
    started.value++
    leaveReplay()
    const chosen = comparing.value ? sideNames : (['A'] as const)
    await Promise.all(sideNames.map((side) => runs[side].close()))
    if (!comparing.value) await (await browserStore(storeOf('B'))).clear()
    const configs = chosen.map((side) => [side, configOf(settings[side].value, shared.value)] as const)
    await Promise.all(configs.map(([side, config]) => runs[side].start(config, preparedText(config))))
  })

function expectGpu(): void {
  if (missing.value !== null) throw new Error(`This browser cannot train: there is ${missing.value}.`)
}

export const pause = () => attempt(() => Promise.all(sideNames.map((side) => runs[side].pause())))

/** Continues all paused trainings. */
export function goOn(): void {
  for (const side of sideNames) if (runs[side].phase.value === 'paused') void runs[side].run()
}

/** Opens the runs that the browser has stored. */
export const restore = () =>
  attempt(async () => {
    expectGpu()
    hasStored.value = false
    leaveReplay()
    const text = await speeches()
    for (const side of sideNames) if (await (await browserStore(storeOf(side))).load()) await runs[side].restore(text)
  })

/** Opens the run of a zip file as side A, in place of the open trainings. */
export const importRun = (file: File): void => replacing('Open the run', () => void openFile(file))

const openFile = (file: File) =>
  attempt(async () => {
    expectGpu()
    const zip = new Uint8Array(await file.arrayBuffer())
    hasStored.value = false
    lesson.value = null
    leaveReplay()
    await runs.B.close()
    await runs.A.importZip(zip, await speeches())
  })

/** Saves the run directory of a side as a file. */
export const exportRun = (side: SideName) =>
  attempt(async () => {
    expectOpen([side], 'saved')
    const zip = await runs[side].export()
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([zip as BlobPart], { type: 'application/zip' }))
    link.download = `choir-${side.toLowerCase()}-step-${runs[side].step}.zip`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
  })

/** @throws Error if none of these sides has a model yet */
function expectOpen(sides: readonly SideName[], what: string): void {
  if (sides.some((side) => runs[side].isOpen)) return
  const failed = sides.every((side) => runs[side].phase.value === 'failed')
  const reason = failed ? 'its training failed' : 'it is still being prepared'
  throw new Error(`${sides.join(' and ')}: nothing can be ${what} yet, because ${reason}.`)
}

/** Both models write a text that continues the prompt. */
export const write = (prompt: string, options: { tokens: number; temperature: number; seed: number }) =>
  attempt(async () => {
    expectOpen(openSides.value, 'written')
    for (const side of openSides.value) void runs[side].write(prompt, options)
  })

/** Sets the controls to the settings of a lesson, and trains. */
export const tryLesson = (chosen: Lesson): void =>
  replacing('Start the lesson', () => {
    lesson.value = chosen
    settings.A.value = settingOf(chosen.a)
    settings.B.value = settingOf(chosen.b)
    comparing.value = true
    void train()
  })

/** Takes a file that the visitor dropped or chose as the text to train on. */
export const takeText = (file: File) =>
  attempt(async () => {
    const content = await file.text()
    if (content.includes('\0')) throw new Error(`${file.name} is not a text.`)
    ownText.value = { name: file.name, content }
  })

/** Looks for runs of an earlier visit. */
export const findStored = () =>
  attempt(async () => {
    const found = await Promise.all(sideNames.map(async (side) => (await browserStore(storeOf(side))).load()))
    hasStored.value = found.some((zip) => zip !== null) && openSides.value.length === 0
  })

async function attempt(action: () => Promise<unknown>): Promise<void> {
  problem.value = null
  try {
    await action()
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error)
  }
}
