/**
 * Places of experts along the positions of a sequence. The graph composes maps in log₂ S passes over memory; here an
 * invocation goes through the positions of one expert, and keeps its buckets in registers.
 */
import * as declared from '../../../../core/graph/kernels/queues.ts'
import { gridOf, implement, linearMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'

/** Number of positions whose numbers are loaded together, since loads take long and do not depend on the buckets. */
const BATCH = 8

/** Size of a workgroup, which is small so that few experts spread over more cores. */
const SIZE = 32

export const keptInBuckets = implement(declared.keptInBuckets, {
  lower({ attributes: { maxSaved, start }, inputs: { wanted_GKSN, earned_SN }, outputs }) {
    const [groups = 0, ranks = 0, sequence = 0, experts = 0] = wanted_GKSN.shape
    const count = groups * experts
    if (count * sequence * ranks === 0) return []
    const serve = dispatchOf({
      name: 'kept-in-buckets',
      operands: {
        wanted: wanted_GKSN,
        earned: earned_SN,
        kept: outputs.kept_GKSN,
        ahead: outputs.ahead_GKSN,
        all_wanted: outputs.count_GN,
        all_kept: outputs.kept_GN,
      },
      workgroups: gridOf(count, SIZE),
      code: ({ wanted, earned, kept, ahead, all_wanted, all_kept }) => `
${linearMain(count, SIZE)} {
  let g = i32(index) / ${experts};
  let n = i32(index) % ${experts};
  var saved = array<i32, ${ranks}>(${start.join(', ')});
  // Places that choices of each rank get at a position: those of later ranks overflowed at the position before.
  var income = array<i32, ${ranks}>();
  var wanted_before = 0;
  var kept_before = 0;
  for (var first = 0; first < ${sequence}; first += ${BATCH}) {
    let end = min(${BATCH}, ${sequence} - first);
    var wanted_here = array<i32, ${BATCH * ranks}>();
    var earned_here = array<i32, ${BATCH}>();
    for (var i = 0; i < end; i++) {
      earned_here[i] = ${earned}[(first + i) * ${experts} + n];
      for (var rank = 0; rank < ${ranks}; rank++) {
        wanted_here[i * ${ranks} + rank] = ${wanted}[((g * ${ranks} + rank) * ${sequence} + first + i) * ${experts} + n];
      }
    }
    for (var i = 0; i < end; i++) {
      income[0] = earned_here[i];
      var passed_on = 0;
      for (var rank = 0; rank < ${ranks}; rank++) {
        let at = ((g * ${ranks} + rank) * ${sequence} + first + i) * ${experts} + n;
        let has = saved[rank] + income[rank];
        let kept_here = min(wanted_here[i * ${ranks} + rank], has);
        saved[rank] = min(${maxSaved}, has - kept_here);
        ${kept}[at] = kept_here;
        ${ahead}[at] = kept_before;
        wanted_before += wanted_here[i * ${ranks} + rank];
        kept_before += kept_here;
        income[rank] = passed_on;
        passed_on = has - kept_here - saved[rank];
      }
    }
  }
  ${all_wanted}[index] = wanted_before;
  ${all_kept}[index] = kept_before;
}`,
    })
    return [serve]
  },
})
