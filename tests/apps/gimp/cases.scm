; The batch tests: pictures in, pictures out, and what the plug-in says of what it cannot do.
; batch.sh compares the pictures. Starts with api2.scm or api3.scm.

(define report (open-output-file "report.txt"))

(define (first-layer image) (vector-ref (layers image) 0))

; Restores IN whole, after (prepare image).
(define (restore-file in out strength tile prepare)
  (let ((image (load-picture in)))
    (prepare image)
    (restore-layers image (layers image) "default" strength 512 tile)
    (gimp-selection-none image)
    (save-picture image out)
    (gimp-image-delete image)))

(define (nothing image) #t)

; Everything of the layer's own: its picture alone, as large as it is.
(define (save-layer image index path)
  (let* ((copy (car (gimp-image-duplicate image))) (all (layers copy)))
    (let loop ((i 0))
      (if (< i (vector-length all))
          (begin (if (not (= i index)) (gimp-image-remove-layer copy (vector-ref all i))) (loop (+ i 1)))))
    (gimp-image-resize-to-layers copy)
    (save-picture copy path)
    (gimp-image-delete copy)))

(define (whole-pictures)
  (for-each (lambda (name) (restore-file name (string-append "gimp-" name) 1.0 -1 nothing))
            '("rgb8.png" "rgba8.png" "grey8.png" "greya8.png" "rgb16.png" "rgba16.png" "grey16.png" "float.tif"))
  (restore-file "rgb8.png" "gimp-half.png" 0.5 -1 nothing)
  (restore-file "rgb8.png" "gimp-none.png" 0.0 -1 nothing)
  (restore-file "large.png" "gimp-tiles.png" 1.0 128 nothing))

; The same pixels whatever the precision that the layer has in GIMP, when they are in 8 bits again.
(define (precisions)
  (for-each (lambda (precision)
              (let ((image (load-picture "rgb8.png")))
                (gimp-image-convert-precision image (cadr precision))
                (restore-layers image (layers image) "default" 1.0 512 -1)
                (gimp-image-convert-precision image u8-gamma)
                (save-picture image (string-append "gimp-" (car precision) ".png"))
                (gimp-image-delete image)))
            (list (list "half-linear" PRECISION-HALF-LINEAR) (list "double-gamma" double-gamma)
                  (list "u16-linear" PRECISION-U16-LINEAR) (list "u32-gamma" u32-gamma))))

(define (selections)
  (restore-file "rgb8.png" "gimp-selected.png" 1.0 -1
                (lambda (image) (gimp-image-select-rectangle image CHANNEL-OP-REPLACE 20 10 40 30)))
  (restore-file "rgb8.png" "gimp-feathered.png" 1.0 -1
                (lambda (image)
                  (gimp-image-select-rectangle image CHANNEL-OP-REPLACE 30 20 30 20)
                  (gimp-selection-feather image 5))))

; Two layers, the upper one partly outside the image and with a mask.
(define (several-layers)
  (let* ((image (load-picture "rgb8.png")) (upper (load-layer image "rgba8.png")))
    (gimp-image-insert-layer image upper 0 0)
    (set-offsets upper -9 13)
    (let ((mask (car (gimp-layer-create-mask upper ADD-MASK-BLACK))))
      (gimp-layer-add-mask upper mask)
      (gimp-layer-set-edit-mask upper FALSE))
    (restore-layers image (layers image) "default" 1.0 512 -1)
    (gimp-layer-remove-mask upper MASK-DISCARD)
    (save-layer image 0 "gimp-upper.png")
    (save-layer image 1 "gimp-lower.png")
    (gimp-image-delete image)))

; A mask is a grey picture: restored when it is what is given, and the layer is not.
(define (a-mask)
  (let* ((image (load-picture "grey8.png")) (layer (first-layer image))
         (mask (car (gimp-layer-create-mask layer ADD-MASK-COPY))))
    (gimp-layer-add-mask layer mask)
    (restore-layers image (vector mask) "default" 1.0 512 -1)
    (gimp-image-insert-layer image (car (gimp-layer-new-from-drawable mask image)) 0 0)
    (gimp-layer-remove-mask layer MASK-DISCARD)
    (save-layer image 0 "gimp-mask.png")
    (save-layer image 1 "gimp-unmasked.png")
    (gimp-image-delete image)))

(define (refused what image layers weights memory)
  (let ((how (catch "refused" (restore-layers image layers weights 1.0 memory -1) "done")))
    (display (string-append how " " what "\n") report)))

(define (refusals)
  (let* ((image (load-picture "rgb8.png")) (layer (first-layer image)) (group (new-group image)))
    (refused "weights" image (layers image) "no-such-weights" 512)
    (gimp-image-insert-layer image group 0 0)
    (refused "group" image (vector group) "default" 512)
    (lock-pixels layer TRUE)
    (refused "locked" image (vector layer) "default" 512)
    (lock-pixels layer FALSE)
    (set-offsets layer 200 200)
    (gimp-image-select-rectangle image CHANNEL-OP-REPLACE 0 0 5 5)
    (refused "outside" image (vector layer) "default" 512)
    (gimp-image-delete image))
  (let ((image (load-picture "large.png")))
    (refused "memory" image (layers image) "default" 1)
    (to-indexed image)
    (refused "indexed" image (layers image) "default" 512)
    (gimp-image-delete image)))

(whole-pictures)
(precisions)
(selections)
(several-layers)
(a-mask)
(refusals)
(display "all cases ran\n" report)
(close-output-port report)
