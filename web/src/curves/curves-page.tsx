/** All metrics of the shown runs, in collapsible groups. */
import { computed } from '@preact/signals'
import { shownRuns, whyNoRun } from '../shared/store.ts'
import { Dialog } from '../shell/dialog.tsx'
import { Icon } from '../shell/icon.tsx'
import { Card } from './card.tsx'
import './curves.css'
import { metricName } from '../../../src/core/text/metrics.ts'
import { groupsOf } from './metric-groups.ts'
import { enlarged, folded, pinned, search, toggled } from './settings.ts'
import { SettingsBar } from './settings-bar.tsx'

const metrics = computed(() => new Set(shownRuns.value.flatMap((run) => run.metrics)))
const groups = computed(() => groupsOf(metrics.value, pinned.value, search.value))

export function CurvesPage() {
  return (
    <div class="curves">
      <SettingsBar />
      {groups.value.map(({ name, metrics: names }) => (
        <Group key={name} name={name} metrics={names} />
      ))}
      {groups.value.length === 0 && <p class="empty">{whyNothing()}</p>}
      {enlarged.value !== '' && metrics.value.has(enlarged.value) && (
        <Dialog title={metricName(enlarged.value)} large close={() => (enlarged.value = '')}>
          <Card metric={enlarged.value} large />
        </Dialog>
      )}
    </div>
  )
}

function whyNothing(): string {
  if (shownRuns.value.length === 0) return whyNoRun()
  if (shownRuns.value.every(({ kind }) => kind === 'trace'))
    return 'A router trace has no metrics. Its loads are under Experts.'
  if (metrics.value.size === 0) return 'The shown runs have no metrics yet.'
  return `No metric matches “${search.value}”.`
}

function Group({ name, metrics: names }: { readonly name: string; readonly metrics: readonly string[] }) {
  const open = !folded.value.includes(name)
  return (
    <section class="group" aria-label={name}>
      <h2>
        <button
          type="button"
          class={open ? 'open' : ''}
          aria-expanded={open}
          onClick={() => (folded.value = toggled(folded.value, name))}
        >
          <Icon name="fold" />
          {name}
          <span class="quiet">{names.length}</span>
        </button>
      </h2>
      {open && (
        <div class="cards">
          {names.map((metric) => (
            <Card key={metric} metric={metric} />
          ))}
        </div>
      )}
    </section>
  )
}
