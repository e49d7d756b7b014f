/**
 * The settings of each side, the settings that both share, and the buttons that start and stop. A side, A or B, is one
 * of the two trainings that the page compares.
 */
import type { Signal } from '@preact/signals'
import { useId } from 'preact/hooks'
import { Segments, Select } from '../src/controls/selection.tsx'
import type { SideName } from './live-run.ts'
import {
  begin,
  canContinue,
  comparing,
  exportRun,
  goOn,
  hasStored,
  importRun,
  isBusy,
  openSides,
  pause,
  restore,
  settings,
  shared,
  takeText,
} from './session.ts'
import {
  fitting,
  offered,
  type RouterName,
  routers,
  type Setting,
  type SizeName,
  sizes,
  usesBalance,
  usesCapacity,
  usesK,
  usesPrototypes,
} from './settings/settings.ts'
import { ownText } from './training-text.ts'

const numbers = (values: readonly number[]) => values.map((value) => ({ value: String(value), text: String(value) }))

/** On a narrow screen the settings are closed at first, because they would hide what is below them. */
const isWide = matchMedia('(min-width: 901px)').matches

export function Controls() {
  const change = (part: Partial<typeof shared.value>) => (shared.value = { ...shared.value, ...part })
  const { size, experts, steps, seed } = shared.value
  return (
    <details class="own" open={isWide}>
      <summary>
        <h2>Your own</h2>
      </summary>
      <section class="controls" aria-label="Your own experiment">
        <TextChoice />
        <div class="fields">
          <Select
            label="Size"
            value={size}
            options={Object.keys(sizes).map((name) => ({ value: name, text: name }))}
            pick={(value) => change({ size: value as SizeName })}
          />
          <Select
            label="Experts"
            value={String(experts)}
            options={numbers(offered.experts)}
            pick={(value) => {
              change({ experts: Number(value) })
              for (const side of [settings.A, settings.B]) side.value = fitting(side.value, Number(value))
            }}
          />
          <NumberField label="Steps" value={steps} range={offered.steps} set={(value) => change({ steps: value })} />
          <NumberField label="Seed" value={seed} range={offered.seed} set={(value) => change({ seed: value })} />
        </div>
        <p class="quiet">{sizes[size].hint}. Both sides have the same seed, text and order of it.</p>
        <SettingFields side="A" setting={settings.A} />
        <label class="check">
          <input
            type="checkbox"
            checked={comparing.value}
            onChange={(event) => (comparing.value = event.currentTarget.checked)}
          />
          Compare with a second setting
        </label>
        {comparing.value && <SettingFields side="B" setting={settings.B} />}
      </section>
    </details>
  )
}

function TextChoice() {
  const own = ownText.value
  return (
    <div class="text-choice">
      <Segments
        label="Text"
        value={own ? 'own' : 'speeches'}
        options={[
          { value: 'speeches', text: 'Speeches', hint: 'The State of the Union addresses since 1790' },
          { value: 'own', text: 'Your own' },
        ]}
        pick={(value) => (ownText.value = value === 'own' ? { name: 'text.txt', content: '' } : null)}
      />
      {own && (
        <>
          <textarea
            rows={4}
            aria-label="Your text"
            placeholder="Paste a text of some pages, or drop a file here"
            value={own.content}
            onInput={(event) => (ownText.value = { name: own.name, content: event.currentTarget.value })}
          />
          <FileButton text="Choose a text file" accept=".txt,.md,.json,.jsonl,text/*" take={takeText} />
        </>
      )}
    </div>
  )
}

interface SettingFieldsProps {
  readonly side: SideName
  readonly setting: Signal<Setting>
}

function SettingFields({ side, setting }: SettingFieldsProps) {
  const { experts } = shared.value
  const now = setting.value
  const change = (part: Partial<Setting>) => (setting.value = fitting({ ...now, ...part }, experts))
  const group = usesPrototypes(now) ? experts / now.prototypes : experts
  return (
    <fieldset class="setting" data-side={side}>
      <legend>{side}</legend>
      <Select
        label="Router"
        value={now.router}
        options={Object.entries(routers).map(([value, { name }]) => ({ value, text: name }))}
        pick={(value) => change({ router: value as RouterName })}
      />
      {usesPrototypes(now) && (
        <Select
          label="Prototypes Z"
          value={String(now.prototypes)}
          options={numbers(offered.prototypes.filter((z) => z <= experts))}
          pick={(value) => change({ prototypes: Number(value) })}
        />
      )}
      {usesK(now) && (
        <Select
          label={usesPrototypes(now) ? 'k of each' : 'k'}
          value={String(now.k)}
          options={numbers(offered.k.filter((k) => k <= group))}
          pick={(value) => change({ k: Number(value) })}
        />
      )}
      {usesCapacity(now) && (
        <Select
          label="Capacity"
          value={now.capacity}
          options={[
            { value: 'kx', text: 'kx: k shares' },
            { value: '1x', text: '1x: one share' },
            ...(now.router === 'expert-choice' ? [] : [{ value: 'none', text: 'no limit' }]),
          ]}
          pick={(value) => change({ capacity: value as Setting['capacity'] })}
        />
      )}
      {usesCapacity(now) && now.capacity !== 'none' && (
        <Select
          label="Factor"
          value={String(now.factor)}
          options={numbers(offered.factor)}
          pick={(value) => change({ factor: Number(value) })}
        />
      )}
      {usesBalance(now) && (
        <Select
          label="Balancing loss"
          value={String(now.balance)}
          options={numbers(offered.balance)}
          pick={(value) => change({ balance: Number(value) })}
        />
      )}
      <p class="quiet">{routers[now.router].hint}</p>
    </fieldset>
  )
}

interface NumberFieldProps {
  readonly label: string
  readonly value: number
  readonly range: readonly [least: number, most: number]
  readonly set: (value: number) => void
}

function NumberField({ label, value, range: [min, max], set }: NumberFieldProps) {
  return (
    <label class="pick">
      <span>{label}</span>
      <input
        type="number"
        value={value}
        min={min}
        max={max}
        step={1}
        onChange={({ currentTarget }) => {
          const typed = Math.round(currentTarget.valueAsNumber)
          const next = Number.isFinite(typed) ? Math.max(min, Math.min(max, typed)) : value
          currentTarget.value = String(next)
          set(next)
        }}
      />
    </label>
  )
}

/** Buttons that start, stop, save and open trainings. None is ever disabled: a button that cannot act says why. */
export function Actions() {
  return (
    <div class="actions">
      {isBusy.value ? (
        <button type="button" class="primary" onClick={pause}>
          Pause
        </button>
      ) : (
        <button type="button" class={canContinue.value ? '' : 'primary'} onClick={begin}>
          {openSides.value.length > 0 ? 'Start over' : 'Train'}
        </button>
      )}
      {canContinue.value && (
        <button type="button" class="primary" onClick={goOn}>
          Continue
        </button>
      )}
      {hasStored.value && (
        <button type="button" onClick={restore}>
          Open the stored runs
        </button>
      )}
      {openSides.value.map((side) => (
        <button
          key={side}
          type="button"
          title="A run directory: choir train --resume, eval and generate open it"
          onClick={() => exportRun(side)}
        >
          Save {side}
        </button>
      ))}
      <FileButton text="Open a run" accept=".zip" take={importRun} />
    </div>
  )
}

interface FileButtonProps {
  readonly text: string
  readonly accept: string
  readonly take: (file: File) => void
}

function FileButton({ text, accept, take }: FileButtonProps) {
  const id = useId()
  return (
    <label class="file-button" for={id}>
      {text}
      <input
        id={id}
        type="file"
        class="hidden"
        accept={accept}
        onChange={({ currentTarget }) => {
          const file = currentTarget.files?.[0]
          currentTarget.value = ''
          if (file) take(file)
        }}
      />
    </label>
  )
}
