/** Selects the text: a document of the run, or a pasted text. */
import { useState } from 'preact/hooks'
import { grouped } from '../../../src/core/text/numbers.ts'
import type { DocumentList, RunSummary } from '../../../src/faces/watch/api.ts'
import { Segments, Select } from '../controls/selection.tsx'
import { getJson } from '../shared/client.ts'
import { useAnswer } from '../shared/use-answer.ts'
import * as view from './view.ts'

export function TextSource({ run }: { readonly run: RunSummary }) {
  const [draft, setDraft] = useState(view.pasted.value)
  const documents = useAnswer(run.id, 0, (signal) => getJson<DocumentList>('/api/documents', { run: run.id }, signal))
  const isTrace = run.kind === 'trace'
  const send = () => {
    if (draft !== '') view.paste(draft)
  }
  return (
    <>
      {!isTrace && (
        <Segments
          label="Text"
          value={view.source.value}
          pick={(value) => (view.source.value = value)}
          options={[
            { value: 'document', text: 'Held-out document' },
            { value: 'text', text: 'Your own' },
          ]}
        />
      )}
      {isTrace || view.source.value === 'document' ? (
        <>
          <Select
            label={isTrace ? 'Step' : 'Document'}
            value={String(view.document.value)}
            options={(documents.value?.documents ?? []).map(({ index, title, characters }) => ({
              value: String(index),
              text: isTrace ? title : `${title} (${grouped(characters)} characters)`,
            }))}
            pick={(value) => (view.document.value = Number(value))}
          />
          {documents.problem !== null && <p class="bad">{documents.problem}</p>}
        </>
      ) : (
        <form
          class="own-text"
          onSubmit={(event) => {
            event.preventDefault()
            send()
          }}
        >
          <label class="pick">
            <span>Your text</span>
            <textarea
              rows={3}
              value={draft}
              placeholder="Paste or write something"
              onInput={(event) => setDraft(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
                event.preventDefault()
                send()
              }}
            />
          </label>
          <button type="submit" disabled={draft === ''} title="Ctrl or ⌘ with Enter">
            Route it
          </button>
        </form>
      )}
    </>
  )
}
