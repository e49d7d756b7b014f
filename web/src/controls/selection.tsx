/** A choice between a few visible options: radio buttons that look like one bar. */
import { useState } from 'preact/hooks'
import './controls.css'

interface SegmentsProps<T extends string> {
  readonly label: string
  /** Whether the label is for screen readers only. */
  readonly labelHidden?: boolean
  readonly value: T
  readonly options: readonly {
    readonly value: T
    readonly text: string
    readonly hint?: string
    readonly disabled?: boolean
  }[]
  readonly pick: (value: T) => void
}

/** Number of groups so far. Ids of Preact are unique in one tree only, and a page may have several. */
let groups = 0

export function Segments<T extends string>({ label, labelHidden = false, value, options, pick }: SegmentsProps<T>) {
  const [name] = useState(() => `choices-${groups++}`)
  return (
    <fieldset class="choices">
      <legend class={labelHidden ? 'hidden' : ''}>{label}</legend>
      <div>
        {options.map((option) => (
          <label key={option.value} title={option.hint}>
            <input
              type="radio"
              name={name}
              checked={value === option.value}
              disabled={option.disabled}
              onChange={() => pick(option.value)}
            />
            <span>{option.text}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}

interface SelectProps {
  readonly label: string
  readonly value: string
  readonly options: readonly { readonly value: string; readonly text: string }[]
  readonly pick: (value: string) => void
}

/** A choice between many options. */
export function Select({ label, value, options, pick }: SelectProps) {
  return (
    <label class="pick">
      <span>{label}</span>
      <select value={value} onChange={(event) => pick(event.currentTarget.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.text}
          </option>
        ))}
      </select>
    </label>
  )
}
