"use strict";
// The picture: points on a canvas, what is under the pointer, zoom and move. It knows places and colours, no texts.
const Plot = (() => {
  const canvas = document.getElementById("plot");
  const brush = canvas.getContext("2d");
  const NEAR = 14;
  let places = [];
  let look = { colour: () => "#888", visible: () => true, order: [] };
  let view = { x: 0, y: 0, scale: 1 };
  let hovered = null;
  let rings = [];

  function size() {
    const box = canvas.getBoundingClientRect();
    return { width: box.width, height: box.height, unit: Math.min(box.width, box.height) * 0.47 };
  }

  // Where a point is on the canvas, in CSS pixels.
  function place(point) {
    const { width, height, unit } = size();
    const [x, y] = places[point];
    return {
      x: width / 2 + (x - view.x) * unit * view.scale,
      y: height / 2 - (y - view.y) * unit * view.scale,
    };
  }

  function nearest(x, y) {
    let found = null;
    let least = NEAR * NEAR;
    for (const point of look.order) {
      if (!look.visible(point)) continue;
      const at = place(point);
      const distance = (at.x - x) ** 2 + (at.y - y) ** 2;
      if (distance <= least) [found, least] = [point, distance];
    }
    return found;
  }

  function dot(at, radius) {
    brush.beginPath();
    brush.arc(at.x, at.y, radius, 0, 2 * Math.PI);
  }

  function draw() {
    const { width, height } = size();
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    brush.setTransform(density, 0, 0, density, 0, 0);
    brush.clearRect(0, 0, width, height);
    const shown = look.order.filter(look.visible);
    const radius = Math.max(2.2, Math.min(4.5, 130 / Math.sqrt(shown.length + 1))) * Math.min(2, Math.sqrt(view.scale));
    brush.globalAlpha = 0.72;
    for (const point of shown) {
      brush.fillStyle = look.colour(point);
      dot(place(point), radius);
      brush.fill();
    }
    brush.globalAlpha = 1;
    const ink = getComputedStyle(canvas).color;
    brush.strokeStyle = ink;
    if (rings.length > 1) {
      brush.lineWidth = 0.8;
      brush.setLineDash([4, 3]);
      const from = place(rings[0]);
      for (const point of rings.slice(1)) {
        const to = place(point);
        brush.beginPath();
        brush.moveTo(from.x, from.y);
        brush.lineTo(to.x, to.y);
        brush.stroke();
      }
      brush.setLineDash([]);
    }
    for (const point of hovered === null ? rings : [...rings, hovered]) {
      const at = place(point);
      brush.fillStyle = look.colour(point);
      dot(at, radius + 2);
      brush.fill();
      brush.lineWidth = point === hovered || point === rings[0] ? 2 : 1.2;
      brush.stroke();
    }
  }

  // One frame at most is waiting to be drawn.
  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  function zoom(factor, x, y) {
    const { width, height, unit } = size();
    const scale = Math.max(0.5, Math.min(60, view.scale * factor));
    // What is under the pointer stays there.
    const across = (x - width / 2) / unit;
    const up = (height / 2 - y) / unit;
    view.x += across / view.scale - across / scale;
    view.y += up / view.scale - up / scale;
    view.scale = scale;
    redraw();
  }

  function zoomCentre(factor) {
    const { width, height } = size();
    zoom(factor, width / 2, height / 2);
  }

  function reset() {
    view = { x: 0, y: 0, scale: 1 };
    redraw();
  }

  function listen(onHover, onPick) {
    let grabbed = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener("pointermove", (event) => {
      const here = at(event);
      if (grabbed) {
        const { unit } = size();
        const [dx, dy] = [here.x - grabbed.x, here.y - grabbed.y];
        if (grabbed.moved || Math.hypot(dx, dy) > 4) {
          view.x = grabbed.view.x - dx / unit / view.scale;
          view.y = grabbed.view.y + dy / unit / view.scale;
          grabbed.moved = true;
          canvas.classList.add("moving");
          redraw();
        }
        return;
      }
      onHover(nearest(here.x, here.y));
    });
    canvas.addEventListener("pointerdown", (event) => {
      grabbed = { ...at(event), view: { ...view }, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", (event) => {
      const moved = grabbed && grabbed.moved;
      grabbed = null;
      canvas.classList.remove("moving");
      const here = at(event);
      if (!moved) onPick(nearest(here.x, here.y));
    });
    canvas.addEventListener("pointercancel", () => { grabbed = null; });
    canvas.addEventListener("pointerleave", () => { if (!grabbed) onHover(null); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const here = at(event);
      zoom(Math.exp(-event.deltaY * 0.0015), here.x, here.y);
    }, { passive: false });
    new ResizeObserver(redraw).observe(canvas);
  }

  return {
    place, nearest, listen, redraw, reset, zoomCentre,
    show(points) { places = points; redraw(); },
    style(next) { look = next; redraw(); },
    mark(point, others) { hovered = point; rings = others; redraw(); },
  };
})();
