// The recording's intervals, unpacked: who ran on each physical CPU, and what each vCPU waited for.
(function (T) {
  "use strict";
  const source = T.data.gantt;
  if (!source) return;

  // A track is packed as (gap since the last end, length, tag) for each interval.
  function track(text, tagged) {
    const numbers = T.unpack(text);
    const count = numbers.length / 3;
    const start = new Float64Array(count);
    const end = new Float64Array(count);
    const slot = new Uint32Array(count);
    const why = new Uint8Array(count);
    let at = 0;
    for (let index = 0; index < count; index++) {
      at += numbers[index * 3];
      start[index] = at;
      at += numbers[index * 3 + 1];
      end[index] = at;
      const tag = numbers[index * 3 + 2];
      slot[index] = tagged ? tag >> 3 : 0;
      why[index] = tag & 7;
    }
    return { start, end, slot, why, count };
  }

  // The first interval that ends after an instant.
  function first(line, instant) {
    let low = 0;
    let high = line.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (line.end[middle] > instant) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  const pcpus = source.pcpus.map((text) => track(text, true));
  const waits = source.waits.map((text) => track(text, false));
  const wakes = source.wakes.map((text) => {
    let at = 0;
    return Float64Array.from(T.unpack(text), (gap) => (at += gap));
  });

  // The same intervals by vCPU: what a domain's row shows.
  let runs = null;
  function bySlot() {
    if (runs) return runs;
    const lists = source.slots.map(() => []);
    pcpus.forEach((line, pcpu) => {
      for (let index = 0; index < line.count; index++) lists[line.slot[index]].push([line.start[index], line.end[index], line.why[index], pcpu]);
    });
    runs = lists.map((list, slot) => {
      list.sort((a, b) => a[0] - b[0]);
      return {
        start: Float64Array.from(list, (item) => item[0]), end: Float64Array.from(list, (item) => item[1]), why: Uint8Array.from(list, (item) => item[2]),
        pcpu: Uint16Array.from(list, (item) => item[3]), slot: new Uint32Array(list.length).fill(slot), count: list.length,
      };
    });
    return runs;
  }

  T.timeline = {
    lengthNs: source.lengthNs,
    slots: source.slots,
    ends: source.ends,
    causes: source.causes,
    pcpus,
    waits,
    wakes,
    bySlot,
    first,
    slotName: ([domain, vcpu, several]) => T.data.domains[domain].name + (several ? ` v${vcpu}` : ""),
  };
})(window.Tessera);
