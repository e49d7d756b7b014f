/** Menu to select configuration fields as columns. */
import { useSignal } from '@preact/signals'
import { addedFields, fields, toggleField } from './table-state.ts'

export function ColumnsMenu() {
  const search = useSignal('')
  const { differing, same } = fields.value
  const matchesSearch = (field: string) => field.toLowerCase().includes(search.value.toLowerCase())
  return (
    <details class="menu">
      <summary>Columns</summary>
      <div class="menu-body">
        <input
          type="search"
          placeholder="Search the fields"
          aria-label="Search the fields"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
        <Fields title="Differ between runs" fields={differing.filter(matchesSearch)} />
        <Fields title="The same in all" fields={same.filter(matchesSearch)} />
        {![...differing, ...same].some(matchesSearch) && <p class="quiet">No field matches “{search.value}”.</p>}
        {addedFields.value.length > 0 && (
          <button type="button" onClick={() => (addedFields.value = [])}>
            Remove all
          </button>
        )}
      </div>
    </details>
  )
}

function Fields({ title, fields: names }: { readonly title: string; readonly fields: readonly string[] }) {
  if (names.length === 0) return null
  return (
    <fieldset>
      <legend>{title}</legend>
      {names.map((field) => (
        <label key={field}>
          <input type="checkbox" checked={addedFields.value.includes(field)} onChange={() => toggleField(field)} />
          {field}
        </label>
      ))}
    </fieldset>
  )
}
