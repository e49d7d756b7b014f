/** The lessons, one open at a time. */
import { useSignal } from '@preact/signals'
import { type Lesson, lessons } from './lessons.ts'
import { tryLesson } from './session.ts'

export function LessonList() {
  const open = useSignal<Lesson | null>(lessons[0] ?? null)
  return (
    <section class="lessons" aria-label="Lessons">
      <h2>Lessons</h2>
      {lessons.map((each) => (
        <details
          key={each.title}
          open={open.value === each}
          onToggle={({ currentTarget }) => {
            if (currentTarget.open) open.value = each
            else if (open.value === each) open.value = null
          }}
        >
          <summary>{each.title}</summary>
          <p>{each.text}</p>
          <p>
            <button type="button" class="primary" onClick={() => tryLesson(each)}>
              Try it
            </button>
            <a href={`./routing.html#${each.section}`} target="_blank" rel="noreferrer">
              more
            </a>
          </p>
        </details>
      ))}
    </section>
  )
}
